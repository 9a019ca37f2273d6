//! `tollgate replay`: a trace of real calls, driven over gRPC as an executor would.
