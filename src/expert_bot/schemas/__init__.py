"""What crosses the wire: envelope, CloudEvents <-> Pub/Sub codec, one file per event family, and what is generated from them."""
