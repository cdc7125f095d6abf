"""What SimpleTuner lost of its images while it read them, read again."""

from typing import Any

from lokr_weighting_simpletuner.datasets import training_backends
from lokr_weighting_simpletuner.log import logger


def read_again(config: Any) -> None:
    """Give every image of the run its sizes back.

    SimpleTuner 4.10.1 reads a folder in threads that hand over through a queue, and may stop
    listening before the last has written: on a busy machine images are then in their buckets, and
    nothing is known of them. The first batch that has one would end the run.

    Args:
        config: SimpleTuner's parsed configuration.
    """
    for name, backend in training_backends(config).items():
        metadata, sampler = backend["metadata_backend"], backend["sampler"]
        buckets = metadata.aspect_ratio_bucket_indices.values()
        images = [sampler._sample_path(image) for bucket in buckets for image in bucket]
        lost = [image for image in images if metadata.get_metadata_by_filepath(image) is None]
        found: dict[str, Any] = {}
        for image in lost:
            metadata._process_for_bucket(image, {}, metadata_updates=found)
        for image, known in found.items():
            metadata.set_metadata_by_filepath(image, known, update_json=False)
        if found:
            logger().warning(
                f"data set {name!r}: SimpleTuner lost the sizes of {len(found)} images while it "
                "read them (a fault of its own, on a busy machine); they were read again."
            )
