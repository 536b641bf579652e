"""`fastsoftmax bench` (extra `[bench]`): this library and its peers in turns."""
