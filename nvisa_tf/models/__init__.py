"""The clustering methods: `base` says what a model and a stage of its training are, `registry` finds one by name."""
