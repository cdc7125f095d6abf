"""The user's images and captions: found, decoded, cropped, drawn, encoded."""
