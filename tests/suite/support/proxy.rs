//! A way to a server that can go silent, as that to a host that vanished does: nothing is closed, and nothing arrives.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Passes on what connects to it. Its threads end with the connections.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    /// Connections with a smaller number are silent.
    first_alive: Arc<AtomicUsize>,
    /// All that was passed on to the server.
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// One to this port of this machine.
    pub(crate) fn to(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let first_alive = Arc::new(AtomicUsize::new(0));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self {
            port,
            accepted: Arc::clone(&accepted),
            first_alive: Arc::clone(&first_alive),
            sent: Arc::clone(&sent),
        };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server_port))) else { return };
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                pass_on(number, &client, &server, &first_alive, Some(&sent));
                pass_on(number, &server, &client, &first_alive, None);
            }
        });
        proxy
    }

    /// Makes all connections silent that there are by now; new ones are not.
    pub(crate) fn silence(&self) {
        self.first_alive.store(self.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// How often this text was passed on to the server.
    pub(crate) fn times_sent(&self, text: &str) -> usize {
        let sent = self.sent.lock().unwrap();
        sent.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }
}

fn pass_on(
    number: usize,
    from: &TcpStream,
    to: &TcpStream,
    first_alive: &Arc<AtomicUsize>,
    record: Option<&Arc<Mutex<Vec<u8>>>>,
) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let first_alive = Arc::clone(first_alive);
    let record = record.map(Arc::clone);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let alive = number >= first_alive.load(Ordering::SeqCst);
            // Recorded first, so that whoever has an answer finds its request.
            if let Some(record) = record.as_ref().filter(|_| alive) {
                record.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
            if alive && to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
        // The other side is told of the end only by a connection that is not silent.
        if number >= first_alive.load(Ordering::SeqCst) {
            let _ = to.shutdown(std::net::Shutdown::Both);
        }
    });
}
