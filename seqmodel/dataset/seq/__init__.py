"""Characters to ids on disk: alphabets, FASTA and 2bit files, the memory-mapped store."""
