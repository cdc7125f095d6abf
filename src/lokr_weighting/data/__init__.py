"""Image folders with captions: finding them, decoding the images, cropping them."""
