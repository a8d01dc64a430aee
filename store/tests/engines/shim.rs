//! Makes InfluxDB 1 look like InfluxDB 2 for writes: `/api/v2/write?bucket=&precision=` becomes `/write?db=&precision=`,
//! `/health` becomes `/ping`, everything else goes through as it is. InfluxData's own parser, errors and disk stay.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Listens on a free port, gives it, and passes on to `upstream` for as long as the test runs.
pub fn start(upstream: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, upstream));
        }
    });
    port
}

/// Answers until either side closes; an engine that is away closes the connection.
fn serve(stream: TcpStream, upstream: u16) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (line, length, kind) = head(&mut reader)?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut words = line.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{upstream}{}", mapped(path)))
            .header("content-type", kind)
            .body(body)
            .ok()?;
        let mut answer = agent.run(request).ok()?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec().ok()?;
        write!(
            stream,
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .ok()?;
        stream.write_all(&body).ok()?;
    }
}

/// The request line, the length of the body and its type.
fn head(reader: &mut impl BufRead) -> Option<(String, usize, String)> {
    let mut first = String::new();
    let (mut length, mut kind) = (0, "text/plain".to_owned());
    reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let line = line.trim();
        if line.is_empty() {
            return Some((first, length, kind));
        }
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "content-type" => kind = value.trim().to_owned(),
                "transfer-encoding" => return None,
                _ => {}
            }
        }
    }
}

fn mapped(path: &str) -> String {
    match path.split_once('?') {
        Some(("/api/v2/write", query)) => format!("/write?{}", query.replace("bucket=", "db=")),
        None if path == "/health" => "/ping".to_owned(),
        _ => path.to_owned(),
    }
}
