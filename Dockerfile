# The image: one static binary, the certificates that rediss:// is checked by, and a directory that its user may write to.
#
#   docker build -t tollgate --build-arg REVISION=$(git rev-parse --short HEAD) .
FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies first, with nothing of our own but what they are chosen and built by: this layer lasts until one of them changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY build build
COPY proto proto
RUN mkdir src benches && touch src/lib.rs \
    && for main in src/main.rs benches/gate.rs benches/decision.rs; do echo 'fn main() {}' >"$main"; done \
    && build/static

# A file's time is that of the checkout, which may be before that of the layer above.
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
