"""The convnet zoo, one file a family: full-size builders that take the published weights, and small presets for lectures."""
