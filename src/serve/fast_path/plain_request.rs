//! Which requests the fast path may take, judged by their method and headers.
//!
//! The fast path takes only what every gRPC client sends, and leaves all other requests to tonic. tonic refuses encodings that it
//! does not know. tonic 0.14 checks neither the method nor the content type; if a later version does, its answer counts.

use http::{HeaderMap, Method, header::CONTENT_TYPE};

/// The content types that gRPC clients send for protobuf messages.
const CONTENT_TYPES: [&[u8]; 2] = [b"application/grpc", b"application/grpc+proto"];

/// Returns whether a request is one that gRPC clients send: a POST of an uncompressed protobuf message.
pub(super) fn is_plain(method: &Method, headers: &HeaderMap) -> bool {
    let mut content_types = headers.get_all(CONTENT_TYPE).iter();
    method == Method::POST
        && content_types.next().is_some_and(|value| CONTENT_TYPES.contains(&value.as_bytes()))
        && content_types.next().is_none()
        && !headers.contains_key("grpc-encoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_grpc_post_without_compression_is_plain() {
        let plain = |method: Method, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            is_plain(&method, &map)
        };
        let grpc = ("content-type", "application/grpc");
        assert!(plain(Method::POST, &[grpc]));
        assert!(plain(Method::POST, &[("content-type", "application/grpc+proto"), ("te", "trailers")]));
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            assert!(!plain(method.clone(), &[grpc]), "{method}");
        }
        for headers in [
            &[][..],
            &[("content-type", "application/json")],
            &[("content-type", "application/grpc-web")],
            &[grpc, grpc],
            &[grpc, ("grpc-encoding", "gzip")],
            &[grpc, ("grpc-encoding", "identity")],
        ] {
            assert!(!plain(Method::POST, headers), "{headers:?}");
        }
    }
}
