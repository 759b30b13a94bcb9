"""One tiny application per module; the catalogue says what is true of each."""
