"""The ledger published: the tree and its entries as files that anybody may serve, witnessed by others, for an outsider.

    tiles       coordinates, paths and contents of what is published         no I/O
    objects     where it is kept: a folder, or a bucket of an object store
    publish     the ledger's entries into it, never backwards
    audit       verifying it, with nothing but its files and public keys
    cosign      what a witness signs                                          no I/O
    submission  what a log sends to a witness, as text                        no I/O
    witness     what a witness answers, and what it must not forget
    service     that over HTTP
    client      asking for it over HTTP

Sources: https://c2sp.org/tlog-tiles, https://c2sp.org/tlog-witness, https://c2sp.org/tlog-cosignature.
"""
