"""The backend of Keras that layers and models need."""

from __future__ import annotations

MESSAGE = "nvisa-tf runs on Keras' TensorFlow backend; set KERAS_BACKEND=tensorflow before keras is imported."


def require_tensorflow_backend() -> None:
    """Import Keras and see that it computes by TensorFlow, whatever KERAS_BACKEND or keras.json say.

    Raises:
      ImportError: another backend is chosen, be it installed or not.
    """
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name in ("keras", "tensorflow"):  # a broken installation, and no choice
            raise
        raise ImportError(MESSAGE) from error
    except ValueError as error:  # a backend that Keras does not know
        raise ImportError(MESSAGE) from error
    if keras.config.backend() != "tensorflow":
        raise ImportError(MESSAGE)
