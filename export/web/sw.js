// Answers from what the page asked to keep, and from the network for the rest. The version is that of the exported files.
const VERSION = '@VERSION@';
const OURS = `nvisa-tf ${self.registration.scope} `;
const CACHE = OURS + VERSION;

self.addEventListener('install', () => self.skipWaiting());

self.addEventListener('activate', event => event.waitUntil((async () => {
  for (const name of await caches.keys()) {
    if (name.startsWith(OURS) && name !== CACHE) await caches.delete(name);
  }
  await self.clients.claim();
})()));

self.addEventListener('message', event => event.waitUntil((async () => {
  const cache = await caches.open(CACHE);
  for (const url of event.data) {
    if (!await cache.match(url)) await cache.add(url);
  }
  event.source?.postMessage('kept');
})()));

self.addEventListener('fetch', event => event.respondWith((async () => {
  const cache = await caches.open(CACHE);
  return await cache.match(event.request, {ignoreSearch: true}) ?? await fetch(event.request);
})()));
