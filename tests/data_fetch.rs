//! Downloads against a server on this machine that breaks off, lies, redirects, changes its
//! file and serves rubbish: fetching copes, or fails in words and keeps what it can.
#![cfg(feature = "download")]

use bad_global_minima::data::archive::{Archive, Digest};
use bad_global_minima::data::fetch::{FetchOptions, Fetched, fetch};
use bad_global_minima::data::prepare::prepare;
use bad_global_minima::data::progress::{Progress, Step};
use bad_global_minima::data::published::DATASETS;
use bad_global_minima::data::{Catalog, DataError, DatasetInfo};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// What the server does with one request, given its lines.
type Reply = Box<dyn FnOnce(&[String], &mut TcpStream) + Send>;

/// A server that answers one request after the other as told, then no more.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Server {
    fn new(replies: Vec<Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/archive.tar.gz", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for reply in replies {
                let Ok((mut stream, _)) = listener.accept() else { return };
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let lines: Vec<String> = lines
                    .map_while(Result::ok)
                    .take(100)
                    .take_while(|line| !line.is_empty())
                    .map(|line| line.to_lowercase())
                    .collect();
                seen.lock().unwrap().push(lines.clone());
                reply(&lines, &mut stream);
            }
        });
        Server { url, requests }
    }

    /// The header `name` of request `index`.
    fn header(&self, index: usize, name: &str) -> Option<String> {
        let requests = self.requests.lock().unwrap();
        let prefix = format!("{name}: ");
        requests[index].iter().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Answers with `head` (without its length) and as much of the body as there is.
fn answer(head: &str, length: Option<usize>, body: &[u8]) -> Reply {
    let length = length.map_or(String::new(), |length| format!("Content-Length: {length}\r\n"));
    let head = format!("HTTP/1.1 {head}\r\n{length}Connection: close\r\n\r\n");
    let bytes = [head.as_bytes(), body].concat();
    Box::new(move |_, stream| {
        let _ = stream.write_all(&bytes);
    })
}

fn ok(body: &[u8]) -> Reply {
    answer("200 OK\r\nETag: \"one\"", Some(body.len()), body)
}

/// The first `sent` bytes of a body that should be longer.
fn broken(body: &[u8], sent: usize) -> Reply {
    answer("200 OK\r\nETag: \"one\"", Some(body.len()), &body[..sent])
}

/// The rest from `first` on, as 206.
fn rest(body: &[u8], first: usize, sent: usize) -> Reply {
    let total = body.len();
    let head = format!("206 Partial Content\r\nContent-Range: bytes {first}-{}/{total}", total - 1);
    answer(&head, Some(total - first), &body[first..first + sent])
}

/// A CIFAR-100 archive of 70 + 2 records that do not compress.
fn archive_bytes() -> Vec<u8> {
    let record = |i: u32| {
        let mut state = i + 1;
        let pixels = (0..3072).map(move |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        [(i % 20) as u8, (i % 100) as u8].into_iter().chain(pixels)
    };
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, count) in [("train.bin", 70), ("test.bin", 2)] {
        let bytes: Vec<u8> = (0..count).flat_map(record).collect();
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("cifar-100-binary/{name}"), &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

struct Case {
    root: TempDir,
    info: DatasetInfo,
    bytes: Vec<u8>,
    options: FetchOptions,
}

impl Case {
    fn new() -> Case {
        let bytes = archive_bytes();
        let digits: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let mut info = DATASETS.iter().find(|info| info.name == "cifar-100").unwrap().clone();
        let digest = Digest::Sha256(Box::leak(digits.into_boxed_str()));
        let size = Some(bytes.len() as u64);
        info.archive = info.archive.map(|known| Archive { bytes: size, digest, ..known });
        info.counts = Some([70, 2]);
        let options = FetchOptions {
            pause: Duration::from_millis(1),
            patience: Duration::from_secs(2),
            attempts: 3,
            ..FetchOptions::default()
        };
        Case { root: TempDir::new().unwrap(), info, bytes, options }
    }

    /// Forgets the size, as for a set that has none pinned.
    fn without_size(mut self) -> Case {
        self.info.archive = self.info.archive.map(|known| Archive { bytes: None, ..known });
        self
    }

    fn fetch(&mut self, server: &Server) -> Result<Fetched, DataError> {
        self.options.url = Some(server.url.clone());
        fetch(&self.info, self.root.path(), &self.options, &mut |_| ControlFlow::Continue(()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("cifar-100").join(name)
    }

    fn part(&self) -> PathBuf {
        self.path("cifar-100-binary.tar.gz.part")
    }

    /// What was fetched can be used, and nothing is left over.
    #[track_caller]
    fn is_whole(&self) {
        assert!(!self.part().exists());
        assert!(!self.path("cifar-100-binary.tar.gz.part.toml").exists());
        assert!(!self.path(".unpacking").exists());
        assert_eq!(fs::read(self.path("cifar-100-binary.tar.gz")).unwrap(), self.bytes);
        prepare(&self.info, self.root.path(), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(Catalog::new(self.root.path()).read(&self.info).unwrap().0.len(), 70);
    }
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, DataError>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn downloads_verifies_and_unpacks() {
    let mut case = Case::new();
    let server = Server::new(vec![ok(&case.bytes)]);
    assert_eq!(case.fetch(&server).unwrap(), Fetched::Downloaded);
    assert_eq!(case.fetch(&server).unwrap(), Fetched::AlreadyThere);
    assert_eq!((server.count(), server.header(0, "range")), (1, None));
    assert_eq!(server.header(0, "accept-encoding").as_deref(), Some("identity"));
    case.is_whole();
}

#[test]
fn goes_on_where_the_server_broke_off() {
    let mut case = Case::new();
    let all = case.bytes.len();
    let replies = vec![
        broken(&case.bytes, 1000),
        rest(&case.bytes, 1000, 5000),
        rest(&case.bytes, 6000, all - 6000),
    ];
    let server = Server::new(replies);
    assert_eq!(case.fetch(&server).unwrap(), Fetched::Downloaded);
    assert_eq!(server.header(1, "range").as_deref(), Some("bytes=1000-"));
    assert_eq!(server.header(1, "if-range").as_deref(), Some("\"one\""));
    assert_eq!(server.header(2, "range").as_deref(), Some("bytes=6000-"));
    case.is_whole();
}

#[test]
fn attempts_count_from_the_last_progress() {
    let mut case = Case::new();
    // Five interruptions with three attempts allowed, but never three in a row without 64 KiB.
    let step = 66_000;
    let mut replies = vec![broken(&case.bytes, 10), rest(&case.bytes, 10, 0)];
    replies.push(rest(&case.bytes, 10, step));
    replies.push(rest(&case.bytes, 10 + step, 0));
    replies.push(rest(&case.bytes, 10 + step, step));
    replies.push(rest(&case.bytes, 10 + 2 * step, case.bytes.len() - 10 - 2 * step));
    let server = Server::new(replies);
    case.fetch(&server).unwrap();
    assert_eq!(server.count(), 6);
    case.is_whole();
}

#[test]
fn gives_up_after_bounded_attempts_and_resumes_in_the_next_call() {
    let mut case = Case::new();
    let replies = vec![
        broken(&case.bytes, 700),
        rest(&case.bytes, 700, 0),
        answer("503 Service Unavailable", Some(0), b""),
    ];
    let server = Server::new(replies);
    says(case.fetch(&server), &["503", "gave up after 3 attempts", "700 bytes are kept"]);
    assert_eq!((server.count(), fs::metadata(case.part()).unwrap().len()), (3, 700));
    // The same address again: the listener is gone, so make the notes name the new one.
    let server = Server::new(vec![rest(&case.bytes, 700, case.bytes.len() - 700)]);
    let notes = case.path("cifar-100-binary.tar.gz.part.toml");
    let text = fs::read_to_string(&notes).unwrap();
    let old = case.options.url.clone().unwrap();
    fs::write(&notes, text.replace(&old, &server.url)).unwrap();
    case.fetch(&server).unwrap();
    assert_eq!(server.header(0, "range").as_deref(), Some("bytes=700-"));
    case.is_whole();
}

#[test]
fn a_part_from_another_address_or_without_notes_is_not_continued() {
    let mut case = Case::new();
    fs::create_dir_all(case.path("")).unwrap();
    fs::write(case.part(), b"from somewhere").unwrap();
    let server = Server::new(vec![ok(&case.bytes)]);
    case.fetch(&server).unwrap();
    assert_eq!(server.header(0, "range"), None);
    case.is_whole();

    let mut case = Case::new();
    case.options.attempts = 1;
    let first = Server::new(vec![broken(&case.bytes, 500)]);
    says(case.fetch(&first), &["500 bytes are kept"]);
    let second = Server::new(vec![ok(&case.bytes)]);
    case.fetch(&second).unwrap();
    assert_eq!(second.header(0, "range"), None);
    case.is_whole();
}

#[test]
fn a_weak_tag_is_no_validator_but_a_time_is() {
    let mut case = Case::new();
    let head = "200 OK\r\nETag: W/\"one\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT";
    let all = case.bytes.len();
    let weak = answer(head, Some(all), &case.bytes[..500]);
    let server = Server::new(vec![weak, rest(&case.bytes, 500, all - 500)]);
    case.fetch(&server).unwrap();
    let since = server.header(1, "if-range");
    assert_eq!(since.as_deref(), Some("wed, 21 oct 2015 07:28:00 gmt"));
    case.is_whole();
}

#[test]
fn a_server_without_ranges_starts_over() {
    let mut case = Case::new();
    let server = Server::new(vec![broken(&case.bytes, 9000), ok(&case.bytes)]);
    case.fetch(&server).unwrap();
    assert_eq!(server.header(1, "range").as_deref(), Some("bytes=9000-"));
    case.is_whole();
    // One that always breaks off early makes no progress, however much it sends each time.
    let mut case = Case::new();
    let server = Server::new((0..9).map(|_| broken(&case.bytes, 100_000)).collect());
    says(case.fetch(&server), &["gave up"]);
    assert!(server.count() <= 4, "{}", server.count());
}

#[test]
fn wrong_ranges_are_noticed() {
    let mut case = Case::new();
    // Bytes from another place than asked for: thrown away, and from the start.
    let wrong = rest(&case.bytes, 500, 100);
    let server = Server::new(vec![broken(&case.bytes, 1000), wrong, ok(&case.bytes)]);
    case.fetch(&server).unwrap();
    assert_eq!(server.header(2, "range"), None);
    case.is_whole();

    let mut case = Case::new();
    let nonsense = answer("206 Partial Content\r\nContent-Range: bytes", Some(3), b"abc");
    let server = Server::new(vec![broken(&case.bytes, 1000), nonsense]);
    says(case.fetch(&server), &["range"]);

    let mut case = Case::new();
    let shorter = answer("416 Range Not Satisfiable", Some(0), b"");
    let server = Server::new(vec![broken(&case.bytes, 1000), shorter, ok(&case.bytes)]);
    case.fetch(&server).unwrap();
    case.is_whole();
}

#[test]
fn a_file_that_changed_between_two_parts_is_taken_from_the_start() {
    // No size is pinned and the server ignores If-Range: only the digest tells.
    let mut case = Case::new().without_size();
    let all = case.bytes.len();
    let mut other = case.bytes.clone();
    other[..1000].fill(7);
    let server = Server::new(vec![
        broken(&other, 1000),
        rest(&case.bytes, 1000, all - 1000),
        ok(&case.bytes),
    ]);
    case.fetch(&server).unwrap();
    assert_eq!(server.count(), 3);
    case.is_whole();
    // But only once: a server that keeps doing it is given up.
    let mut case = Case::new().without_size();
    case.options.attempts = 9;
    let replies = (0..5).flat_map(|_| [broken(&other, 1000), rest(&case.bytes, 1000, all - 1000)]);
    let server = Server::new(replies.collect());
    let result = case.fetch(&server);
    assert!(matches!(result, Err(DataError::Archive { .. })), "{result:?}");
    assert_eq!(server.count(), 4);
}

#[test]
fn wrong_bytes_are_never_unpacked_or_kept() {
    let mut case = Case::new();
    let mut wrong = case.bytes.clone();
    wrong[100] ^= 1;
    let server = Server::new(vec![ok(&wrong)]);
    let result = case.fetch(&server);
    assert!(matches!(&result, Err(DataError::Archive { expected, .. }) if expected.len() == 71));
    says(result, &["digest is", "sha256:"]);
    assert!(!case.part().exists() && !case.path("cifar-100-binary").exists());
    assert!(!case.path("cifar-100-binary.tar.gz").exists());
}

#[test]
fn wrong_lengths_are_noticed_at_once() {
    // A page of some portal in the place of the archive.
    let mut case = Case::new();
    let server = Server::new(vec![ok(b"<html>please log in</html>")]);
    says(case.fetch(&server), &["offers 26 bytes", "published archive has"]);
    // Longer than promised: what is too much is not read.
    let mut case = Case::new();
    let mut long = case.bytes.clone();
    long.extend([0; 1000]);
    let server = Server::new(vec![answer("200 OK", Some(case.bytes.len()), &long)]);
    case.fetch(&server).unwrap();
    case.is_whole();
    // No length at all, and too much: bounded by the pinned size.
    let mut case = Case::new();
    let server = Server::new(vec![answer("200 OK", None, &long)]);
    says(case.fetch(&server), &["sends more than"]);
    assert!(!case.part().exists());
    // No length at all, but right.
    let mut case = Case::new().without_size();
    let server = Server::new(vec![answer("200 OK", None, &case.bytes)]);
    case.fetch(&server).unwrap();
    case.is_whole();
    // Nothing pinned and endless: the bound of the archive holds.
    let mut case = Case::new().without_size();
    case.info.archive = case.info.archive.map(|known| Archive { most_bytes: 5000, ..known });
    let server = Server::new(vec![answer("200 OK", None, &long)]);
    says(case.fetch(&server), &["sends more than 5000 bytes"]);
}

#[test]
fn redirects_are_followed_but_not_forever() {
    let mut case = Case::new();
    let target = Server::new(vec![ok(&case.bytes)]);
    let moved = format!("302 Found\r\nLocation: {}", target.url);
    let server = Server::new(vec![answer(&moved, Some(0), b"")]);
    case.fetch(&server).unwrap();
    case.is_whole();

    let mut case = Case::new();
    let around = (0..20).map(|_| answer("302 Found\r\nLocation: /archive.tar.gz", Some(0), b""));
    let server = Server::new(around.collect());
    says(case.fetch(&server), &["redirect"]);
    assert!(server.count() <= 7, "{}", server.count());
}

#[test]
fn refusals_are_final_and_rubbish_is_bounded() {
    for status in ["404 Not Found", "403 Forbidden", "410 Gone"] {
        let mut case = Case::new();
        let server = Server::new(vec![answer(status, Some(0), b"")]);
        says(case.fetch(&server), &[&server.url, &status[..3]]);
        assert_eq!(server.count(), 1);
    }
    let mut case = Case::new();
    let rubbish: Reply = Box::new(|_, stream| stream.write_all(b"rubbish\r\n\r\n").unwrap_or(()));
    let endless: Reply = Box::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let hangs_up: Reply = Box::new(|_, _| {});
    let server = Server::new(vec![rubbish, endless, hangs_up]);
    says(case.fetch(&server), &["gave up after 3 attempts"]);
}

#[test]
fn a_silent_server_is_not_waited_for_forever() {
    let mut case = Case::new();
    case.options.patience = Duration::from_millis(200);
    let first = case.bytes[..3000].to_vec();
    let all = case.bytes.len();
    let silent: Reply = Box::new(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: {all}\r\n\r\n");
        let _ = stream.write_all(&[head.as_bytes(), &first].concat());
        // Kept open, and nothing said, while the next request is answered.
        let open = stream.try_clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(5));
            drop(open);
        });
    });
    let server = Server::new(vec![silent, rest(&case.bytes, 3000, all - 3000)]);
    let started = std::time::Instant::now();
    case.fetch(&server).unwrap();
    assert!(started.elapsed() < Duration::from_secs(4));
    case.is_whole();
}

#[test]
fn an_interruption_keeps_what_is_there() {
    let mut case = Case::new();
    let all = case.bytes.len();
    let server =
        Server::new(vec![broken(&case.bytes, 70_000), rest(&case.bytes, 70_000, all - 70_000)]);
    case.options.url = Some(server.url.clone());
    let mut steps = Vec::new();
    let stopped = fetch(&case.info, case.root.path(), &case.options, &mut |progress: Progress| {
        steps.push(progress.step);
        if progress.step == Step::Wait { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(DataError::Interrupted)));
    assert_eq!(steps.first(), Some(&Step::Download));
    assert_eq!(fs::metadata(case.part()).unwrap().len(), 70_000);
    case.fetch(&server).unwrap();
    assert_eq!(server.header(1, "range").as_deref(), Some("bytes=70000-"));
    case.is_whole();
}

#[test]
fn what_cannot_be_fetched_says_how_to_get_it() {
    let root = TempDir::new().unwrap();
    let info = DATASETS.iter().find(|info| info.name == "restricted-imagenet").unwrap();
    let options = FetchOptions::default();
    let result = fetch(info, root.path(), &options, &mut |_| ControlFlow::Continue(()));
    says(result, &["https://image-net.org", "train/<wnid>/*.JPEG", "bgm data prepare"]);
    let mut case = Case::new();
    case.options.url = Some("no address".into());
    let result =
        fetch(&case.info, case.root.path(), &case.options, &mut |_| ControlFlow::Continue(()));
    says(result, &["no address"]);
}
