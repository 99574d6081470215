"""Reading and writing: files that are whole or not there, images, run directories."""
