//! Layer 1: what the front door must refuse, and what clients really send.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<RequestHead, HeadError> {
    match parse_head(text.as_bytes())? {
        HeadStatus::Complete { head, consumed } => {
            assert_eq!(consumed, text.len());
            Ok(head)
        }
        HeadStatus::Partial => panic!("a whole head: {text:?}"),
    }
}

fn refused(text: &str) -> HeadError {
    match parse_head(text.as_bytes()) {
        Err(error) => error,
        Ok(status) => panic!("refused: {text:?}, got {status:?}"),
    }
}

const UPGRADE: &str = "GET /glasses-ws?token=a.b.c&livekit=true&udpEncryption=true HTTP/1.1\r\n\
    Host: rt.example.net:8002\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    X-User-Id:  Nadia@lumen.io \t\r\n\r\n";

#[test]
fn an_upgrade_request_is_read() {
    let head = parse(UPGRADE).unwrap();
    assert_eq!(
        (head.method, head.version_minor, head.body),
        (Method::Get, 1, BodyLength::None)
    );
    assert_eq!(head.path(), "/glasses-ws");
    assert_eq!(head.query("token").as_deref(), Some("a.b.c"));
    assert_eq!(head.query("udpEncryption").as_deref(), Some("true"));
    assert_eq!(head.query("none"), None);
    assert_eq!(head.header("X-USER-ID"), Some("Nadia@lumen.io"));
    assert_eq!(head.header("x-api-key"), None);
    assert!(head.wants_upgrade() && head.keep_alive() && !head.expects_continue());
    let names: Vec<&str> = head.headers().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["host", "upgrade"]);
}

#[test]
fn bytes_behind_the_head_are_left() {
    let stream = format!("{UPGRADE}\x01\n\x02");
    let Ok(HeadStatus::Complete { consumed, .. }) = parse_head(stream.as_bytes()) else {
        panic!("complete");
    };
    assert_eq!(&stream[consumed..], "\x01\n\x02");
}

#[test]
fn a_body_is_as_long_as_its_header_says() {
    for (fields, body) in [
        ("Content-Length: 0", BodyLength::Length(0)),
        ("content-length:0012", BodyLength::Length(12)),
        ("Transfer-Encoding: chunked", BodyLength::Chunked),
        ("TRANSFER-ENCODING: Chunked", BodyLength::Chunked),
        ("X: y", BodyLength::None),
    ] {
        let head = parse(&format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).unwrap();
        assert_eq!(head.body, body, "{fields}");
    }
}

#[test]
fn keep_alive_follows_version_and_connection() {
    for (version, field, keep) in [
        ("1.1", "X: y", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: Upgrade, CLOSE", false),
        ("1.0", "X: y", false),
        ("1.0", "Connection: Keep-Alive", true),
    ] {
        let head = parse(&format!(
            "GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n"
        ))
        .unwrap();
        assert_eq!(head.keep_alive(), keep, "{version} {field}");
    }
    let two = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n";
    assert!(!parse(two).unwrap().keep_alive());
}

/// Requests that two parsers could cut or route in two ways.
#[test]
fn smuggling_corpus_is_refused() {
    use HeadError::*;
    for (fields, error) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            TransferEncoding,
        ),
        ("Content-Length: 5\r\nContent-Length: 6", ContentLength),
        ("Content-Length: 5\r\nContent-Length: 5", ContentLength),
        ("Content-Length: 5, 5", ContentLength),
        ("Content-Length: +5", ContentLength),
        ("Content-Length: -1", ContentLength),
        ("Content-Length: 0x5", ContentLength),
        ("Content-Length: 5 5", ContentLength),
        ("Content-Length:", ContentLength),
        ("Content-Length: 99999999999999999999", ContentLength),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            TransferEncoding,
        ),
        ("Transfer-Encoding: identity", Coding),
        ("Transfer-Encoding: gzip, chunked", Coding),
        ("Transfer-Encoding: chunked, identity", Coding),
        ("Transfer-Encoding: xchunked", Coding),
        ("Transfer-Encoding: chunked;x=1", Coding),
        ("Transfer-Encoding: \"chunked\"", Coding),
        ("Transfer-Encoding:", Coding),
        ("Transfer-Encoding : chunked", Header),
        ("Content-Length : 5", Header),
        ("X\tY: z", Header),
        (": empty name", Header),
        ("no colon", Header),
        ("X(: y", Header),
        ("X: y\r\n folded", Folded),
        ("X: y\r\n\tfolded", Folded),
        ("Transfer-Encoding:\r\n chunked", Folded),
        ("X: a\rb", LineEnd),
        ("X: a\r\rb", LineEnd),
        ("X: y\nTransfer-Encoding: chunked", LineEnd),
        ("X: \0", ControlByte),
        ("X: a\x0bb", ControlByte),
        ("Transfer-Encoding: \x0bchunked", ControlByte),
        ("X: \x7f", ControlByte),
        ("Host: b", Host),
    ] {
        let text = format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(refused(&text), error, "{fields:?}");
    }
}

#[test]
fn hosts_and_request_lines() {
    use HeadError::*;
    for (text, error) in [
        ("GET / HTTP/1.1\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Host),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
        ("GET / HTTP/1.1\nHost: a\n\n", LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", LineEnd),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Version),
        ("GET /\r\nHost: a\r\n\r\n", RequestLine),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET http:/x HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Host),
        ("GET http://a/ HTTP/1.1\r\n\r\n", Host),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\nHost: a\r\n\r\n", Host),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /\u{fc} HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
    ] {
        assert_eq!(refused(text), error, "{text:?}");
    }
    assert_eq!(
        parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .path(),
        "*"
    );
    assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok());
    assert!(parse("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").is_ok());
    assert_eq!(
        parse("PURGE / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().method,
        Method::Other
    );
}

#[test]
fn an_absolute_target_names_path_and_host() {
    for (line, target, host) in [
        ("GET http://a:80/x?y=1", "/x?y=1", "a:80"),
        ("GET HTTPS://a/http://b/", "/http://b/", "a"),
        ("GET http://a", "/", "a"),
        ("GET http://a?x=/", "/?x=/", "a"),
        ("OPTIONS http://a", "*", "a"),
        ("OPTIONS http://a/", "/", "a"),
    ] {
        let head = parse(&format!("{line} HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n")).unwrap();
        assert_eq!(
            (&*head.target, head.header("host")),
            (target, Some(host)),
            "{line}"
        );
        assert_eq!(head.header("x"), Some("y"));
    }
    let old = parse("GET http://a/x HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((&*old.target, old.header("host")), ("/x", None));
}

#[test]
fn what_can_never_be_a_head_is_refused_at_once() {
    for (start, error) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], HeadError::Tls),
        (b"\x16\x03", HeadError::Tls),
        (b"\x16\x04", HeadError::RequestLine),
        (b"{\"type\"", HeadError::RequestLine),
        (b"\x00", HeadError::RequestLine),
        (b"GET / HTTP/1.1\n", HeadError::LineEnd),
        (b"GET \x01", HeadError::ControlByte),
        (b"GET / HTTP/1.1\r\nX: y\r\n ", HeadError::Folded),
    ] {
        assert_eq!(parse_head(start).err(), Some(error), "{start:?}");
    }
    for start in [
        &b""[..],
        b"\x16",
        b"G",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
    ] {
        assert!(
            matches!(parse_head(start), Ok(HeadStatus::Partial)),
            "{start:?}"
        );
    }
}

#[test]
fn heads_are_bounded() {
    let head = |fill: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(fill)
        )
    };
    let rest = head(0).len();
    assert!(parse(&head(HEAD_BYTES_MAX - rest)).is_ok());
    assert_eq!(
        refused(&head(HEAD_BYTES_MAX - rest + 1)),
        HeadError::TooLarge
    );
    assert_eq!(
        refused(&format!("GET /{}", "a".repeat(HEAD_BYTES_MAX))),
        HeadError::TooLarge
    );
    let long_name = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n",
        "n".repeat(70_000)
    );
    assert_eq!(refused(&long_name), HeadError::TooLarge);

    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(count)
        )
    };
    assert!(parse(&fields(HEADERS_MAX - 1)).is_ok());
    assert_eq!(refused(&fields(HEADERS_MAX)), HeadError::TooManyHeaders);
    assert_eq!(HeadError::TooManyHeaders.status(), 431);
}

type BodyAndRest = (Vec<u8>, Vec<u8>);

/// Reads a whole body fed in pieces of `step`; what is left in the buffer comes second.
fn read_body(
    length: BodyLength,
    max: usize,
    bytes: &[u8],
    step: usize,
) -> Result<Option<BodyAndRest>, BodyError> {
    let mut reader = BodyReader::new(length, max)?;
    let (mut buf, mut body) = (BytesMut::new(), Vec::new());
    let mut pieces = bytes.chunks(step.max(1));
    while !reader.read_into(&mut buf, &mut body)? {
        match pieces.next() {
            Some(piece) => buf.extend_from_slice(piece),
            None => return Ok(None),
        }
    }
    Ok(Some((
        body,
        [&buf[..], &pieces.collect::<Vec<_>>().concat()].concat(),
    )))
}

#[test]
fn bodies_end_where_they_say() {
    let chunked = b"5\r\nhello\r\n00a\r\n0123456789\r\n0\r\n\r\nGET /next";
    let expected = (b"hello0123456789".to_vec(), b"GET /next".to_vec());
    for step in 1..=chunked.len() {
        let read = read_body(BodyLength::Chunked, 15, chunked, step);
        assert_eq!(read, Ok(Some(expected.clone())), "step {step}");
    }
    let sized = read_body(BodyLength::Length(5), 5, b"helloGET", 2);
    assert_eq!(sized, Ok(Some((b"hello".to_vec(), b"GET".to_vec()))));
    assert_eq!(read_body(BodyLength::Length(5), 5, b"hell", 9), Ok(None));
    let none = read_body(BodyLength::None, 5, b"GET", 9);
    assert_eq!(none, Ok(Some((Vec::new(), b"GET".to_vec()))));
}

#[test]
fn bodies_are_bounded_and_strict() {
    use BodyError::*;
    assert_eq!(read_body(BodyLength::Length(6), 5, b"", 1), Err(TooLarge));
    assert_eq!(
        read_body(BodyLength::Length(u64::MAX), 5, b"", 1),
        Err(TooLarge)
    );
    for (bytes, error) in [
        (&b"6\r\n"[..], TooLarge),
        (b"3\r\nabc\r\n3\r\n", TooLarge),
        (b"ffffffff\r\n", TooLarge),
        (b"100000005\r\n", ChunkSize),
        (b"fffffffffffffffff\r\n", ChunkSize),
        (b"\r\n", ChunkSize),
        (b"5\n", ChunkSize),
        (b"5 \r\n", ChunkSize),
        (b" 5\r\n", ChunkSize),
        (b"5;a=b\n", ChunkSize),
        (b"5;a=\rb\r\n", ChunkSize),
        (b"5;a=\0\r\n", ChunkSize),
        (b"5 a;b\r\n", ChunkSize),
        (b";a\r\n", ChunkSize),
        (b"5\r\r\n", ChunkSize),
        (b"0x5\r\n", ChunkSize),
        (b"-1\r\n", ChunkSize),
        (b"+1\r\n", ChunkSize),
        (b"g\r\n", ChunkSize),
        (b"3\r\nabcd", ChunkEnd),
        (b"3\r\nabc\n", ChunkEnd),
        (b"3\r\nabc\rx", ChunkEnd),
        (b"0\r\nX: y\n\r\n", Trailer),
        (b"0\r\nX: y\r\n folded\r\n\r\n", Trailer),
        (b"0\r\nX : y\r\n\r\n", Trailer),
        (b"0\r\n: y\r\n\r\n", Trailer),
        (b"0\r\nX\r\n\r\n", Trailer),
        (b"0\r\n\n", Trailer),
    ] {
        for step in [1, bytes.len()] {
            assert_eq!(
                read_body(BodyLength::Chunked, 5, bytes, step),
                Err(error),
                "{bytes:?}"
            );
        }
    }
}

#[test]
fn chunk_extensions_and_trailers_are_read_over_within_a_bound() {
    let plain =
        b"5;a=b;c=\"d e\"\r\nhello\r\n2 ; x\r\n!!\r\n0;last\r\nX-Sum: 1\r\nY:\r\n\r\nGET /next";
    let expected = (b"hello!!".to_vec(), b"GET /next".to_vec());
    for step in 1..=plain.len() {
        let read = read_body(BodyLength::Chunked, 7, plain, step);
        assert_eq!(read, Ok(Some(expected.clone())), "step {step}");
    }
    let (ext, field) = (";".repeat(2000), format!("X: {}\r\n", "y".repeat(2000)));
    let with = |extensions: usize, fields: usize| {
        let chunks = format!("1{ext}\r\na\r\n").repeat(extensions);
        let bytes = format!("{chunks}0\r\n{}\r\n", field.repeat(fields));
        read_body(BodyLength::Chunked, 9, bytes.as_bytes(), 500)
    };
    assert!(matches!(with(2, 0), Ok(Some(_))));
    assert!(matches!(with(1, 1), Ok(Some(_))));
    assert_eq!(with(3, 0), Err(BodyError::ChunkSize));
    assert_eq!(with(1, 2), Err(BodyError::Trailer));
}

fn encoded(response: &Response, keep_alive: KeepAlive) -> String {
    let mut out = Vec::new();
    response.encode(keep_alive, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn responses_have_a_length() {
    assert_eq!(
        encoded(&Response::json(401, "{\"a\":1}"), KeepAlive::Close),
        "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: 7\r\n\r\n{\"a\":1}"
    );
    assert_eq!(
        encoded(
            &Response::text(200, "ok").with_header("X-A", "b\r\nX-C: d"),
            KeepAlive::Keep
        ),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nX-A: bX-C: d\r\n\
         Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    );
    assert!(encoded(&Response::empty(200), KeepAlive::Keep).contains("Content-Length: 0\r\n"));
    assert!(!encoded(&Response::empty(204), KeepAlive::Keep).contains("Content-Length"));
    let mut head = Vec::new();
    Response::text(200, "body").encode_head(KeepAlive::Keep, &mut head);
    assert!(head.ends_with(b"Content-Length: 4\r\n\r\n"));
}

#[test]
fn chunks_are_read_back_and_an_empty_one_ends_nothing() {
    let mut out = Vec::new();
    encode_chunk(&[b'x'; 300], &mut out);
    encode_chunk(b"", &mut out);
    encode_chunk(b"y", &mut out);
    encode_last_chunk(&mut out);
    let read = read_body(BodyLength::Chunked, 1000, &out, 7)
        .unwrap()
        .unwrap();
    assert_eq!(
        read,
        ([vec![b'x'; 300], b"y".to_vec()].concat(), Vec::new())
    );
}

#[test]
fn a_control_byte_in_place_of_a_carriage_return_is_one_before_and_after_the_line_ends() {
    for head in [
        "GET / HTTP/1.1\0",
        "GET / HTTP/1.1\0\n",
        "GET / HTTP/1.1\0\n\r\n",
    ] {
        assert_eq!(
            parse_head(head.as_bytes()).err(),
            Some(HeadError::ControlByte),
            "{head:?}"
        );
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_head(&bytes);
        let _ = parse_head(&[b"GET / HTTP/1.1\r\n", &bytes[..], b"\r\n\r\n"].concat());
        let _ = read_body(BodyLength::Chunked, 100, &bytes, 3);
    }

    /// A head that is refused early is refused whole, and nothing is accepted before its end.
    #[test]
    fn prefixes_agree_with_the_whole(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = UPGRADE.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let whole = parse_head(&bytes);
        match parse_head(&bytes[..cut.index(bytes.len())]) {
            Err(early) => prop_assert_eq!(Some(early), whole.err()),
            Ok(HeadStatus::Partial) => {}
            Ok(HeadStatus::Complete { consumed, .. }) => {
                let Ok(HeadStatus::Complete { consumed: end, .. }) = whole else {
                    return Err(TestCaseError::fail("accepted in part, refused whole"));
                };
                prop_assert_eq!(consumed, end);
            }
        }
    }

    #[test]
    fn chunked_bodies_are_read_back(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..10),
        step in 1usize..50,
    ) {
        let mut out = Vec::new();
        chunks.iter().for_each(|chunk| encode_chunk(chunk, &mut out));
        encode_last_chunk(&mut out);
        let read = read_body(BodyLength::Chunked, 1000, &out, step);
        prop_assert_eq!(read, Ok(Some((chunks.concat(), Vec::new()))));
    }
}
