"""Interest discovery: item tokens in, clusters out."""
