// A canvas to draw on, in white on black, by pointer or by keyboard.

/** Make `canvas` a drawing pad of `scale` screen pixels an image pixel; `changed` is called after each stroke. */
export function drawingPad(canvas, pen, state, scale, changed) {
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const place = {x: canvas.width / 2, y: canvas.height / 2};
  let down = false;

  function clear() {
    context.fillStyle = '#000';
    context.fillRect(0, 0, canvas.width, canvas.height);
    changed(true);
  }

  function lineTo(x, y) {
    Object.assign(context, {strokeStyle: '#fff', lineWidth: scale * Math.max(1.2, .08 * canvas.width / scale), lineCap: 'round', lineJoin: 'round'});
    context.beginPath();
    context.moveTo(place.x, place.y);
    context.lineTo(x, y);
    context.stroke();
  }

  function moveTo(x, y) {
    place.x = Math.max(0, Math.min(canvas.width, x));
    place.y = Math.max(0, Math.min(canvas.height, y));
    pen.style.left = `${100 * place.x / canvas.width}%`;
    pen.style.top = `${100 * place.y / canvas.height}%`;
  }

  const at = event => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  };
  canvas.addEventListener('pointerdown', event => {
    canvas.setPointerCapture(event.pointerId);
    moveTo(...at(event));
    lineTo(...at(event));
    changed(false);
  });
  canvas.addEventListener('pointermove', event => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    lineTo(...at(event));
    moveTo(...at(event));
    changed(false);
  });

  const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  canvas.addEventListener('keydown', event => {
    if (event.key in steps) {
      const [x, y] = steps[event.key].map((step, i) => (i ? place.y : place.x) + step * scale);
      if (down) lineTo(x, y);
      moveTo(x, y);
      if (down) changed(false);
    } else if (event.key === ' ') {
      down = !down;
      pen.classList.toggle('down', down);
      state.textContent = down ? 'Pen down.' : 'Pen up.';
    } else if (event.key === 'Escape') {
      clear();
    } else {
      return;
    }
    pen.hidden = false;
    event.preventDefault();
  });
  canvas.addEventListener('blur', () => { pen.hidden = true; });

  moveTo(place.x, place.y);
  return {clear, context};
}
