"""One answer of a model, decoded: chunks in, output items and Responses events out."""
