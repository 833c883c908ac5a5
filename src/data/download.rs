//! Downloads a file: resumable, bounded, and checked against its digest.

use super::archive::Archive;
use super::fetch_options::FetchOptions;
use super::progress::{Progress, Report, Step, Ticker};
use super::{DataError, files};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode, header};

/// Bytes that an attempt must add to count as progress.
const PROGRESS: u64 = 64 << 10;

/// What is known of a partial file, so that it is only continued with its own rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    url: String,
    /// `ETag` or `Last-Modified` of the answer that it began with: what `If-Range` asks for.
    validator: Option<String>,
}

/// Why an attempt did not end with a whole file.
enum AttemptError {
    /// Another attempt may help.
    Retryable(String),
    /// It will not.
    Final(DataError),
}

struct Download<'a> {
    archive: &'a Archive,
    agent: ureq::Agent,
    url: String,
    /// The partial file and what is known of it.
    part: PathBuf,
    notes: PathBuf,
}

/// Downloads the archive to `path`. After an interruption or a failure the next call goes on where
/// this one stopped.
///
/// # Errors
/// If the server fails again and again, or serves something else; if the disk is full.
pub fn download(
    archive: &Archive,
    path: &Path,
    options: &FetchOptions,
    report: &mut Report,
) -> Result<(), DataError> {
    let url = options.url.clone().unwrap_or_else(|| archive.url.to_owned());
    let part = PathBuf::from(format!("{}.part", path.display()));
    let notes = PathBuf::from(format!("{}.part.toml", path.display()));
    let agent = agent(&url, options)?;
    let download = Download { archive, agent, url, part, notes };
    let (mut failures, mut furthest) = (0, download.length());
    let (mut resumed, mut restarted) = (furthest > 0, false);
    loop {
        let problem = match download.attempt(report) {
            Ok(()) => match archive.verify(&download.part, report) {
                Ok(()) => break,
                // A part continued with the rest of another file: once more, from the start.
                Err(DataError::Archive { found, .. }) if resumed && !restarted => {
                    download.forget()?;
                    (restarted, furthest) = (true, 0);
                    format!("the parts did not fit together (digest {found})")
                }
                Err(e @ (DataError::Archive { .. } | DataError::Size { .. })) => {
                    download.forget()?;
                    return Err(e);
                }
                Err(e) => return Err(e),
            },
            Err(AttemptError::Final(e)) => return Err(e),
            Err(AttemptError::Retryable(problem)) => problem,
        };
        let length = download.length();
        failures = if length >= furthest + PROGRESS { 1 } else { failures + 1 };
        furthest = furthest.max(length);
        resumed |= length > 0;
        if failures >= options.attempts {
            let kept = format!(
                "{problem}; gave up after {failures} attempts in a row without \
                 progress. {length} bytes are kept: the same command goes on from there"
            );
            return Err(DataError::Download { url: download.url, problem: kept });
        }
        wait(options.pause, failures, report)?;
    }
    let done = std::fs::rename(&download.part, path);
    done.map_err(|e| DataError::io(path, e, "is the folder writable?"))?;
    let _ = std::fs::remove_file(&download.notes);
    Ok(())
}

fn agent(url: &str, options: &FetchOptions) -> Result<ureq::Agent, DataError> {
    let proxy = options.proxy.as_deref().map(ureq::Proxy::new).transpose();
    let proxy = proxy.map_err(|e| DataError::Spec {
        field: "proxy".into(),
        value: options.proxy.clone().unwrap_or_default(),
        problem: e.to_string(),
    })?;
    let config = ureq::Agent::config_builder()
        .proxy(proxy)
        // A redirect may not leave TLS behind.
        .https_only(url.starts_with("https://"))
        .http_status_as_error(false)
        .max_redirects(5)
        // The bytes as published: their digest is what counts.
        .accept_encoding("identity")
        .timeout_connect(Some(options.patience))
        .timeout_recv_response(Some(options.patience))
        .timeout_per_read(Some(options.patience));
    Ok(config.build().new_agent())
}

/// Waits, longer after each failure, but never deaf to a request to stop.
fn wait(pause: Duration, failures: u32, report: &mut Report) -> Result<(), DataError> {
    let whole = pause.saturating_mul(1 << (failures - 1).min(5)).min(Duration::from_secs(60));
    let mut left = whole;
    while !left.is_zero() {
        let slice = left.min(Duration::from_millis(100));
        let (done, total) = ((whole - left).as_millis() as u64, whole.as_millis() as u64);
        if report(Progress { step: Step::Wait, done, total: Some(total) }) == ControlFlow::Break(())
        {
            return Err(DataError::Interrupted);
        }
        std::thread::sleep(slice);
        left -= slice;
    }
    Ok(())
}

impl Download<'_> {
    /// Bytes that are there.
    fn length(&self) -> u64 {
        std::fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    /// Removes the partial file.
    fn forget(&self) -> Result<(), DataError> {
        let _ = std::fs::remove_file(&self.notes);
        match std::fs::remove_file(&self.part) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(DataError::io(&self.part, e, "remove it by hand"))
            }
            _ => Ok(()),
        }
    }

    /// The notes on the partial file, if they are on this address.
    fn read_notes(&self) -> Option<Part> {
        let part: Part = toml::from_str(&files::read_text(&self.notes).ok()?).ok()?;
        (part.url == self.url).then_some(part)
    }

    /// One request: the rest of the file, or all of it.
    fn attempt(&self, report: &mut Report) -> Result<(), AttemptError> {
        let mut start = self.length();
        let notes = self.read_notes().filter(|_| start > 0);
        if notes.is_none() && start > 0 {
            self.forget().map_err(AttemptError::Final)?;
            start = 0;
        }
        if start > 0 && Some(start) == self.archive.bytes {
            return Ok(()); // Whole, but stopped before it was verified.
        }
        let mut request = self.agent.get(&self.url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
            if let Some(validator) = notes.as_ref().and_then(|notes| notes.validator.as_ref()) {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let response = request.call().map_err(|e| self.failed(e))?;
        let (parts, body) = response.into_parts();
        let promised =
            self.answer(parts.status, &parts.headers, &mut start, body.content_length())?;
        self.receive(body, start, promised, &parts.headers, report)
    }

    /// Sorts errors of the request into those that may pass and those that will not.
    fn failed(&self, error: ureq::Error) -> AttemptError {
        match error {
            ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::RequireHttpsOnly(_)
            | ureq::Error::TooManyRedirects
            | ureq::Error::RedirectFailed => self.refuse(error.to_string()),
            other => AttemptError::Retryable(other.to_string()),
        }
    }

    fn refuse(&self, problem: String) -> AttemptError {
        AttemptError::Final(DataError::Download { url: self.url.clone(), problem })
    }

    /// Judges status and headers. Returns the size that the whole file will have, if the
    /// server says, and sets `start` to where its answer begins.
    fn answer(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        start: &mut u64,
        length: Option<u64>,
    ) -> Result<Option<u64>, AttemptError> {
        let promised = match status {
            StatusCode::OK => {
                *start = 0; // No ranges here, or the file has changed.
                length
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = headers.get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok());
                let Some((first, total)) = range.and_then(content_range) else {
                    return Err(self.refuse(format!("answered with the range {range:?}")));
                };
                if first != *start {
                    self.forget().map_err(AttemptError::Final)?;
                    return Err(AttemptError::Retryable(format!(
                        "sent bytes from {first}, not {start}"
                    )));
                }
                total.or(length.and_then(|length| length.checked_add(first)))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.forget().map_err(AttemptError::Final)?;
                return Err(AttemptError::Retryable("the file has become shorter".into()));
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(AttemptError::Retryable(format!("the server answered {status}")));
            }
            status => return Err(self.refuse(format!("the server answered {status}"))),
        };
        match (promised, self.archive.bytes) {
            (Some(found), Some(expected)) if found != expected => {
                self.forget().map_err(AttemptError::Final)?;
                Err(self.refuse(format!(
                    "the server offers {found} bytes, the published archive has {expected}"
                )))
            }
            (promised, expected) => Ok(expected.or(promised)),
        }
    }

    /// Writes the body behind the first `start` bytes of the partial file.
    fn receive(
        &self,
        body: ureq::Body,
        start: u64,
        total: Option<u64>,
        headers: &HeaderMap,
        report: &mut Report,
    ) -> Result<(), AttemptError> {
        let disk = |e| {
            let hint = "is the disk full or the folder read-only?";
            AttemptError::Final(DataError::io(&self.part, e, hint))
        };
        let mut file = OpenOptions::new();
        let mut file = file.create(true).append(true).open(&self.part).map_err(disk)?;
        file.set_len(start).map_err(disk)?;
        if start == 0 {
            let notes = Part { url: self.url.clone(), validator: validator(headers) };
            let text = toml::to_string(&notes).unwrap_or_default();
            files::write_whole(&self.notes, text.as_bytes()).map_err(AttemptError::Final)?;
        }
        let most = total.unwrap_or(self.archive.most_bytes);
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut ticker = Ticker::new(report, Step::Download, total);
        ticker.advance(start).map_err(AttemptError::Final)?;
        let mut length = start;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) => {
                    return Err(AttemptError::Retryable(format!(
                        "broke off after {length} bytes: {e}"
                    )));
                }
            };
            length += count as u64;
            if length > most {
                self.forget().map_err(AttemptError::Final)?;
                return Err(self.refuse(format!("the server sends more than {most} bytes")));
            }
            file.write_all(&buffer[..count]).map_err(disk)?;
            ticker.advance(count as u64).map_err(AttemptError::Final)?;
        }
        if let Some(total) = total
            && length < total
        {
            return Err(AttemptError::Retryable(format!(
                "broke off after {length} of {total} bytes"
            )));
        }
        File::sync_all(&file).map_err(disk)
    }
}

/// First byte and total of `bytes 5-9/10` (`None` for a total of `*`).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, total))
}

/// What `If-Range` may name: a strong entity tag, or else the time of the last change.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text(header::LAST_MODIFIED)).map(str::to_owned)
}
