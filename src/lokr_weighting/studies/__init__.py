"""Studies of a model or of what was measured: ablations, similarity, differences."""
