"""Work that is done later: accepted, kept safe, worked off, fetched."""
