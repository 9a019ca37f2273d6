//! A way to a server that can go silent, as that to a host that vanished does: nothing is closed, and nothing arrives.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Passes on what connects to it. Its threads end with the connections.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    /// Connections with a smaller number are silent.
    first_alive: Arc<AtomicUsize>,
}

impl Proxy {
    /// One to this port of this machine.
    pub(crate) fn to(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let first_alive = Arc::new(AtomicUsize::new(0));
        let proxy = Self { port, accepted: Arc::clone(&accepted), first_alive: Arc::clone(&first_alive) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server_port))) else { return };
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                pass_on(number, &client, &server, &first_alive);
                pass_on(number, &server, &client, &first_alive);
            }
        });
        proxy
    }

    /// Makes all connections silent that there are by now; new ones are not.
    pub(crate) fn silence(&self) {
        self.first_alive.store(self.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn pass_on(number: usize, from: &TcpStream, to: &TcpStream, first_alive: &Arc<AtomicUsize>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let first_alive = Arc::clone(first_alive);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let alive = number >= first_alive.load(Ordering::SeqCst);
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
