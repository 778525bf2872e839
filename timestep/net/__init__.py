"""What every wire needs: addresses, headers, connections of an event loop, bytes for the record."""
