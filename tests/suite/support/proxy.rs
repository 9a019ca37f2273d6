//! A TCP proxy that simulates the faults of a network: it goes silent like the path to a host that vanished, delays answers,
//! holds all traffic for a while, refuses connections, or cuts a connection in the middle of an answer.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A proxy. Its threads end with the connections.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    connections: Arc<Connections>,
}

#[derive(Default)]
struct Connections {
    accepted: AtomicUsize,
    /// Connections with a smaller number pass nothing on.
    first_alive: AtomicUsize,
    /// All bytes that were passed on to the server.
    sent: Mutex<Vec<u8>>,
    faults: Mutex<Faults>,
    changed: Condvar,
    /// Client sides of all connections, with their numbers.
    clients: Mutex<Vec<(usize, TcpStream)>>,
}

#[derive(Clone, Default)]
struct Faults {
    refusing: bool,
    held: bool,
    delay: Duration,
    late_answers: Option<LateAnswers>,
    /// By the number of the connection: how long its next answer is delayed.
    delay_of_next: HashMap<usize, Duration>,
    /// The connection of the next request that contains this text goes silent.
    silence: Option<String>,
    /// Numbers of connections that pass nothing on.
    silent: HashSet<usize>,
    /// The next request that contains this text is answered with an endless reply.
    endless: Option<(String, EndlessReply)>,
    /// By the number of the connection: how its next request is answered.
    endless_next: HashMap<usize, EndlessReply>,
    /// The connection is cut after this many bytes of the answer to the next request that contains this text.
    cut: Option<(String, usize)>,
    /// That request was passed on. This many bytes of the answer are passed on before the cut.
    bytes_left: Option<usize>,
}

/// A reply that does not end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndlessReply {
    pub(crate) start: &'static str,
    pub(crate) repeated: &'static str,
}

/// Answers that are delayed, while all others are passed on as they come.
#[derive(Clone)]
struct LateAnswers {
    /// Only answers to requests that contain this text are delayed.
    text: String,
    delay: Duration,
    /// One in this many of these answers is delayed.
    one_in: usize,
    /// Number of such requests until the next delay.
    until_next: usize,
    /// Number of delays left.
    left: usize,
}

impl Proxy {
    /// Starts a proxy to this port of this machine.
    pub(crate) fn to(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Connections::default());
        let proxy = Self { port, connections: Arc::clone(&connections) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if connections.faults.lock().unwrap().refusing {
                    continue;
                }
                // While the server is down, the proxy drops its clients. The server may come back.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let number = connections.accepted.fetch_add(1, Ordering::SeqCst);
                connections.clients.lock().unwrap().push((number, client.try_clone().unwrap()));
                let ends = || (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (requests, answers) = (Arc::clone(&connections), Arc::clone(&connections));
                let (from, to) = ends();
                std::thread::spawn(move || requests.pass_requests(number, from, to));
                let (to, from) = ends();
                std::thread::spawn(move || answers.pass_answers(number, from, to));
            }
        });
        proxy
    }

    /// Makes all present connections silent. New connections work.
    pub(crate) fn silence(&self) {
        self.connections.first_alive.store(self.connections.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Returns how often this text was passed on to the server.
    pub(crate) fn times_sent(&self, text: &str) -> usize {
        let sent = self.connections.sent.lock().unwrap();
        sent.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }

    /// Delays each answer.
    pub(crate) fn delay(&self, delay: Duration) {
        self.connections.set_faults(|faults| faults.delay = delay);
    }

    /// Delays the answer to the next request that contains this text. Other connections are not affected.
    pub(crate) fn delay_answer_to(&self, text: &str, delay: Duration) {
        self.delay_answers(LateAnswers { text: text.to_owned(), delay, one_in: 1, until_next: 1, left: 1 });
    }

    /// Delays one answer in `one_in` to requests that contain this text. Other connections are not affected.
    pub(crate) fn delay_one_answer_in(&self, one_in: usize, text: &str, delay: Duration) {
        let text = text.to_owned();
        self.delay_answers(LateAnswers { text, delay, one_in, until_next: one_in, left: usize::MAX });
    }

    fn delay_answers(&self, late: LateAnswers) {
        self.connections.set_faults(|faults| faults.late_answers = Some(late));
    }

    /// Answers the next request that contains this text with an endless reply, until the client closes the connection.
    pub(crate) fn answer_endlessly(&self, text: &str, reply: EndlessReply) {
        self.connections.set_faults(|faults| faults.endless = Some((text.to_owned(), reply)));
    }

    /// Makes the connection of the next request that contains this text silent. Other connections are not affected.
    pub(crate) fn silence_connection_of(&self, text: &str) {
        self.connections.set_faults(|faults| faults.silence = Some(text.to_owned()));
    }

    /// Holds all traffic in both directions, until it is called with false.
    pub(crate) fn hold(&self, held: bool) {
        self.connections.set_faults(|faults| faults.held = held);
    }

    /// Cuts all connections and refuses new ones, until it is called with false.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.connections.set_faults(|faults| faults.refusing = refusing);
        if refusing {
            self.cut();
        }
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        for (_, client) in self.connections.clients.lock().unwrap().drain(..) {
            // This fails only if the client has already closed the connection.
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Cuts the connections that are silent.
    pub(crate) fn cut_silent(&self) {
        for (number, client) in self.connections.clients.lock().unwrap().iter() {
            if !self.connections.is_alive(*number) {
                let _ = client.shutdown(Shutdown::Both);
            }
        }
    }

    /// Cuts a connection after this many bytes of the answer to the next request that contains this text. The server receives
    /// the whole request.
    pub(crate) fn cut_answer_to(&self, text: &str, after_bytes: usize) {
        self.connections.set_faults(|faults| faults.cut = Some((text.to_owned(), after_bytes)));
    }
}

impl Connections {
    fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits while all traffic is held.
    fn wait_while_held(&self) {
        drop(self.changed.wait_while(self.faults.lock().unwrap(), |faults| faults.held).unwrap());
    }

    fn is_alive(&self, number: usize) -> bool {
        number >= self.first_alive.load(Ordering::SeqCst) && !self.faults.lock().unwrap().silent.contains(&number)
    }

    /// Notes what a request triggers.
    fn take_note(&self, number: usize, request: &[u8]) {
        let contains = |text: &str| request.windows(text.len()).any(|window| window == text.as_bytes());
        self.set_faults(|faults| {
            if let Some((_, after_bytes)) = faults.cut.take_if(|(text, _)| contains(text)) {
                faults.bytes_left = Some(after_bytes);
            }
            if faults.silence.take_if(|text| contains(text)).is_some() {
                faults.silent.insert(number);
            }
            if let Some((_, reply)) = faults.endless.take_if(|(text, _)| contains(text)) {
                faults.endless_next.insert(number, reply);
            }
            if let Some(late) = faults.late_answers.as_mut().filter(|late| late.left > 0 && contains(&late.text)) {
                late.until_next -= 1;
                if late.until_next == 0 {
                    (late.until_next, late.left) = (late.one_in, late.left - 1);
                    faults.delay_of_next.insert(number, late.delay);
                }
            }
        });
    }

    fn pass_requests(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            self.wait_while_held();
            if !self.is_alive(number) {
                continue;
            }
            // Recorded before it is passed on, so that a test that has an answer finds the request.
            self.sent.lock().unwrap().extend_from_slice(&buffer[..length]);
            self.take_note(number, &buffer[..length]);
            if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
        // A silent connection does not pass its end on either.
        if self.is_alive(number) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    fn pass_answers(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let delay = {
                let mut faults = self.faults.lock().unwrap();
                faults.delay_of_next.remove(&number).unwrap_or(faults.delay)
            };
            if !delay.is_zero() {
                std::thread::sleep(delay);
            }
            self.wait_while_held();
            if !self.is_alive(number) {
                continue;
            }
            let endless = self.faults.lock().unwrap().endless_next.remove(&number);
            if let Some(reply) = endless {
                let repeated = reply.repeated.repeat(65_536 / reply.repeated.len());
                let mut is_open = to.write_all(reply.start.as_bytes()).is_ok();
                while is_open {
                    is_open = to.write_all(repeated.as_bytes()).is_ok();
                }
                return;
            }
            let left = self.faults.lock().unwrap().bytes_left;
            if let Some(left) = left {
                let (passed, rest) = (left.min(length), left - left.min(length));
                let _ = to.write_all(&buffer[..passed]);
                self.set_faults(|faults| faults.bytes_left = (rest > 0).then_some(rest));
                if rest == 0 {
                    let _ = to.shutdown(Shutdown::Both);
                    return;
                }
            } else if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
        if self.is_alive(number) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}
