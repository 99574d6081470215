"""Pretrained networks that make vectors of photos, their features: networks of `keras.applications`, .keras and .tflite files."""

from nvisa_tf.backbones.extraction import Extraction, extract
from nvisa_tf.backbones.network import Backbone, load_backbone
from nvisa_tf.backbones.sources import ArrayPhotos, FolderPhotos, Photos

__all__ = ["ArrayPhotos", "Backbone", "Extraction", "FolderPhotos", "Photos", "extract", "load_backbone"]
