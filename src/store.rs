//! Stores: the one verb that carries out a transaction, atomically, and answers with the truth.
