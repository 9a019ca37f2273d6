//! Many sidecars drain one team: all of its credits are used before anybody is suspended, whoever has leases.
