# The image contains the static binary, the certificate authorities for rediss://, and a data directory that its user owns.
#
#   docker build -t tollgate --build-arg REVISION=$(git rev-parse --short HEAD) .
FROM rust:1.95-bookworm AS build
WORKDIR /build

# Dependencies first, with empty sources: this layer is cached until a dependency or the contract changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY build build
COPY proto proto
RUN mkdir src benches && touch src/lib.rs \
    && for main in src/main.rs benches/gate.rs benches/decision.rs; do echo 'fn main() {}' >"$main"; done \
    && build/static

# Cargo compares modification times. A checkout may be older than the layer above, so the sources are touched.
COPY benches benches
COPY src src
ARG REVISION=unknown
RUN find src -name '*.rs' -exec touch {} + && TOLLGATE_REVISION=$REVISION build/static && mkdir /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/static/tollgate /tollgate
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
WORKDIR /data
EXPOSE 50051 50052 50053
ENTRYPOINT ["/tollgate"]
CMD ["serve"]
