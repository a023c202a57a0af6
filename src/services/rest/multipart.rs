//! Outside thread, REST: `multipart/form-data` bodies that are in memory already (RFC 7578). Strict where it costs nothing:
//! 32 parts, 16 headers each; a body that breaks the form has no parts at all.

use crate::shard::mailbox::OutsideRequest;
use bytes::Bytes;

const PARTS_MAX: usize = 32;
const BOUNDARY_MAX: usize = 200;

/// One part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Field name.
    pub(super) name: String,
    /// File name, if it is a file.
    pub(super) filename: Option<String>,
    /// `text/plain` where none is given.
    pub(super) content_type: String,
    /// Content, sharing the body's memory.
    pub(super) data: Bytes,
}

/// The parts of a request; `None` when it is no well-formed multipart body.
pub(super) fn parts(r: &OutsideRequest) -> Option<Vec<Part>> {
    parse(super::header(r, "content-type")?, &r.body)
}

fn parse(content_type: &str, body: &Bytes) -> Option<Vec<Part>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")
        .filter(|text| (1..=BOUNDARY_MAX).contains(&text.len()))?;
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let finder = memchr::memmem::Finder::new(delimiter.as_bytes());
    let mut at = if body.starts_with(opening.as_bytes()) {
        opening.len()
    } else {
        finder.find(body)? + delimiter.len()
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        if parts.len() == PARTS_MAX {
            return None;
        }
        let padding = memchr::memmem::find(rest, b"\r\n")?;
        if rest[..padding]
            .iter()
            .any(|byte| !matches!(byte, b' ' | b'\t'))
        {
            return None;
        }
        let start = at + padding + 2;
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let (head, headers) = match httparse::parse_headers(&body[start..], &mut headers).ok()? {
            httparse::Status::Complete(done) => done,
            httparse::Status::Partial => return None,
        };
        let from = start + head;
        let end = from + finder.find(&body[from..])?;
        parts.push(part(headers, body.slice(from..end))?);
        at = end + delimiter.len();
    }
}

fn part(headers: &[httparse::Header<'_>], data: Bytes) -> Option<Part> {
    let header = |name: &str| {
        let found = headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let (_, disposition) = header("content-disposition")?.split_once(';')?;
    Some(Part {
        name: parameter(disposition, "name")?,
        filename: parameter(disposition, "filename"),
        content_type: header("content-type")
            .unwrap_or("text/plain")
            .to_ascii_lowercase(),
        data,
    })
}

/// The value of `name` in `a=b; c="d \" e"`.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text.trim_start_matches([' ', ';']);
    while !rest.is_empty() {
        let (key, tail) = rest.split_once('=')?;
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = tail.find(';').unwrap_or(tail.len());
                (tail[..end].trim().to_owned(), &tail[end..])
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = tail.trim_start_matches([' ', ';']);
    }
    None
}

fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=\"x y\"";

    #[test]
    fn fields_and_files_come_out_as_they_went_in() {
        let body = "--x y\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"a\":1}\r\n--x y\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".png\"\r\nContent-Type: image/PNG\r\n\r\n\
            \r\n--x\r\n\r\n--x y--\r\n";
        let parts = parse(KIND, &Bytes::from_static(body.as_bytes())).expect("well-formed");
        assert_eq!(parts.len(), 2);
        assert_eq!(
            (parts[0].name.as_str(), &parts[0].data[..]),
            ("metadata", &b"{\"a\":1}"[..])
        );
        assert_eq!(parts[1].filename.as_deref(), Some("a \"b\".png"));
        assert_eq!(parts[1].content_type, "image/png");
        assert_eq!(&parts[1].data[..], b"\r\n--x\r\n");
    }

    #[test]
    fn a_broken_body_has_no_parts() {
        for body in [
            "",
            "--x y",
            "--x y\r\n",
            "--x y\r\nContent-Disposition: form-data; name=a\r\n\r\nno end",
            "--x yz\r\n\r\n--x y--",
        ] {
            assert_eq!(
                parse(KIND, &Bytes::copy_from_slice(body.as_bytes())),
                None,
                "{body:?}"
            );
        }
        assert_eq!(parse("application/json", &Bytes::new()), None);
    }

    #[test]
    fn too_many_parts_are_refused() {
        let one = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
        let body = format!("{}--b--", one.repeat(PARTS_MAX + 1));
        assert_eq!(
            parse("multipart/form-data; boundary=b", &Bytes::from(body)),
            None
        );
    }
}
