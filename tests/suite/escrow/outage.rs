//! The store hangs while leases are in hand.
