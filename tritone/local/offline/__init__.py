"""Speaking a whole manifest in this process, without a server: see tritone offline."""
