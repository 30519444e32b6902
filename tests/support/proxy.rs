//! A proxy in front of an HTTP service that does to its answers what networks and servers do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{Random, Site};

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is refused with this status.
    Refused(u16),
    /// The connection ends before the service has it.
    Reset,
    /// The service does it, and the connection ends before the answer.
    AnswerLost,
    /// Nothing comes for ten seconds, then the connection ends.
    Stalled,
    /// The answer's body breaks off in the middle.
    CutShort,
    /// A byte of the answer's body is another one.
    Damaged,
}

#[derive(Debug)]
struct Plan {
    trouble: Option<Trouble>,
    one_in: u64,
    random: Random,
}

/// A proxy on loopback. It ends with the process.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

impl Proxy {
    /// In front of the service at `host:port`; without troubles at first.
    pub fn before(service: &str, random: Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = Plan {
            trouble: None,
            one_in: 1,
            random,
        };
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            plan: Arc::new(Mutex::new(plan)),
        };
        let (own, service) = (proxy.clone(), service.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (own, service) = (own.clone(), service.clone());
                // A client that goes away is no trouble of ours.
                thread::spawn(move || drop(own.pass(client, &service)));
            }
        });
        proxy
    }

    /// In front of the service of a site, which from now on is reached through it.
    pub fn in_front_of(site: &mut Site, random: Random) -> Self {
        let start = site.address.find("http://").unwrap() + "http://".len();
        let length = site.address[start..].find(['/', '&']).unwrap();
        let direct = site.address[start..start + length].to_owned();
        let proxy = Self::before(&direct, random);
        site.address = site.address.replace(&direct, &proxy.address());
        proxy
    }

    /// Where it is, as `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on this befalls one request in `one_in`, or nothing any more.
    pub fn trouble(&self, trouble: Option<Trouble>, one_in: u64) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        (plan.trouble, plan.one_in) = (trouble, one_in);
    }

    fn befalls(&self) -> Option<Trouble> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let one_in = plan.one_in;
        plan.trouble.filter(|_| plan.random.one_in(one_in))
    }

    /// Passes on one request and its answer.
    fn pass(&self, mut client: TcpStream, service: &str) -> std::io::Result<()> {
        let Some((head, body)) = message(&mut client)? else {
            return Ok(());
        };
        let trouble = self.befalls();
        match trouble {
            Some(Trouble::Refused(status)) => {
                let answer = format!(
                    "HTTP/1.1 {status} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                return client.write_all(answer.as_bytes());
            }
            Some(Trouble::Reset) => return Ok(()),
            Some(Trouble::Stalled) => {
                thread::sleep(Duration::from_secs(10));
                return Ok(());
            }
            _ => {}
        }
        let mut upstream = TcpStream::connect(service)?;
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        upstream.write_all(head.as_bytes())?;
        upstream.write_all(&body)?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer)?;
        let end = find(&answer).unwrap_or(answer.len());
        let length = answer.len() - end;
        match trouble {
            Some(Trouble::AnswerLost) => return Ok(()),
            Some(Trouble::CutShort) => answer.truncate(end + length / 2),
            Some(Trouble::Damaged) if length > 0 => answer[end + length / 2] ^= 0x20,
            _ => {}
        }
        client.write_all(&answer)
    }
}

/// Where the body of a message begins.
fn find(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(end + 4)
}

/// A request: head and body; nothing if the client went away before.
fn message(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let Some((head, mut body)) = head(client)? else {
        return Ok(None);
    };
    let had = body.len();
    body.resize(length(&head).unwrap_or(0).max(had), 0);
    client.read_exact(&mut body[had..])?;
    Ok(Some((head, body)))
}

/// The head of a request, and what came of its body with it; nothing if the client went away before.
pub(crate) fn head(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut bytes, mut some) = (Vec::new(), [0; 16 << 10]);
    loop {
        match client.read(&mut some)? {
            0 => return Ok(None),
            length => bytes.extend_from_slice(&some[..length]),
        }
        if let Some(begin) = find(&bytes) {
            let body = bytes.split_off(begin);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), body)));
        }
    }
}

/// How long the body is, if a head says so.
pub(crate) fn length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    })
}
