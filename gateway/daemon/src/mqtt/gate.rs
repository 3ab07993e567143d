//! Who may come in at the embedded broker, and what they may say and hear there.
//!
//! Promises: where clients are named, nobody else comes in, and each keeps to its own topics; where none is named,
//! anybody may, which is why such a broker listens on loopback only. Refusals are counted, and said once a minute.
//!
//! Leaves out: locking out who guesses: passwords are for machines, long and random, and each try costs a connection.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use sha2::{Digest as _, Sha256};

use super::access;
use super::sparing::Sparing;
use super::translate::matches;
use crate::config::BrokerClient;
use crate::metrics::Metrics;

/// The rules of one broker.
pub(super) struct Gate {
    clients: Vec<Known>,
    own: Known,
    metrics: Metrics,
    said: Mutex<Sparing<(&'static str, String)>>,
}

/// Somebody with a password.
struct Known {
    user: String,
    /// Compared as hashes: how long it takes says nothing about the password.
    password: [u8; 32],
    publish: Vec<String>,
    subscribe: Vec<String>,
}

impl Gate {
    /// Reads the passwords. `own`: the gateway's own user and password, good for this process.
    pub(super) fn new(clients: &[BrokerClient], own: (&str, &str), metrics: Metrics) -> anyhow::Result<Self> {
        let known = |client: &BrokerClient| {
            anyhow::Ok(Known {
                user: client.user.clone(),
                password: hash(access::password(&client.password_file)?.as_bytes()),
                publish: client.publish.clone(),
                subscribe: client.subscribe.clone(),
            })
        };
        let own = Known {
            user: own.0.to_owned(),
            password: hash(own.1.as_bytes()),
            publish: Vec::new(),
            subscribe: vec!["#".to_owned()],
        };
        Ok(Self {
            clients: clients.iter().map(known).collect::<Result<_, _>>()?,
            own,
            metrics,
            said: Mutex::default(),
        })
    }

    /// Nobody is named: who is on this machine may do anything.
    fn open(&self) -> bool {
        self.clients.is_empty()
    }

    fn known(&self, user: &str) -> Option<&Known> {
        self.clients.iter().chain([&self.own]).find(|known| known.user == user)
    }

    /// The user that comes in; `None` with an open gate: nobody in particular.
    fn enters(&self, user: Option<&str>, password: &[u8]) -> Result<Option<&str>, &'static str> {
        match user.map(|user| self.known(user)) {
            Some(Some(known)) if known.password == hash(password) => Ok(Some(&known.user)),
            Some(Some(_)) => Err("wrong_password"),
            None | Some(None) if self.open() => Ok(None),
            Some(None) => Err("unknown_user"),
            None => Err("no_user"),
        }
    }

    fn publishes(&self, user: Option<&str>, topic: &str) -> bool {
        match user.and_then(|user| self.known(user)) {
            Some(known) => known.publish.iter().any(|filter| matches(filter, topic)),
            None => self.open(),
        }
    }

    fn subscribes(&self, user: Option<&str>, filter: &str) -> bool {
        match user.and_then(|user| self.known(user)) {
            Some(known) => known.subscribe.iter().any(|allowed| covers(allowed, filter)),
            None => self.open(),
        }
    }

    fn refuse(&self, reason: &'static str, who: &str, what: &str) {
        self.metrics.mqtt(reason);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = said.unsaid((reason, who.to_owned())) {
            tracing::warn!(reason, who, what, unsaid, "refused at the embedded broker");
        }
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Does everything that `filter` matches lie within `allowed`?
fn covers(allowed: &str, filter: &str) -> bool {
    let mut allowed = allowed.split('/');
    let mut filter = filter.split('/');
    loop {
        match (allowed.next(), filter.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(wanted), Some(level)) if wanted == level && level != "#" => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Gate {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        from: SocketAddr,
    ) -> Answer<'a, mqtt5::Result<AuthResult>> {
        let password = connect.password.as_deref().unwrap_or_default();
        let answer = match self.enters(connect.username.as_deref(), password) {
            Ok(Some(user)) => AuthResult::success_with_user(user),
            Ok(None) => AuthResult::success(),
            Err(reason) => {
                self.refuse(reason, &from.ip().to_string(), connect.username.as_deref().unwrap_or_default());
                AuthResult::fail(ReasonCode::BadUsernameOrPassword)
            }
        };
        Box::pin(ready(Ok(answer)))
    }

    fn authorize_publish<'a>(
        &'a self,
        _client_id: &str,
        user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        let may = self.publishes(user, topic);
        if !may {
            self.refuse("foreign_topic", user.unwrap_or_default(), topic);
        }
        Box::pin(ready(may))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client_id: &str,
        user: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let may = self.subscribes(user, filter);
        if !may {
            self.refuse("foreign_filter", user.unwrap_or_default(), filter);
        }
        Box::pin(ready(may))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lies_within_another() {
        for (allowed, filter, expected) in [
            ("#", "#", true),
            ("cmnd/#", "cmnd/fridge/power", true),
            ("cmnd/#", "cmnd/#", true),
            ("cmnd/#", "#", false),
            ("cmnd/+/power", "cmnd/+/power", true),
            ("cmnd/+/power", "cmnd/fridge/power", true),
            ("cmnd/+/power", "cmnd/#", false),
            ("cmnd/fridge", "cmnd/+", false),
            ("cmnd/fridge", "cmnd/fridge/power", false),
            ("cmnd/fridge/power", "cmnd/fridge", false),
        ] {
            assert_eq!(covers(allowed, filter), expected, "{allowed} {filter}");
        }
    }

    fn gate(clients: &[&str]) -> Gate {
        let known = |user: &&str| Known {
            user: (*user).to_owned(),
            password: hash(b"secret"),
            publish: vec![format!("tele/{user}/#")],
            subscribe: vec![format!("cmnd/{user}/#")],
        };
        let mut gate = Gate::new(&[], ("nonsite-1", "own"), Metrics::default()).unwrap();
        gate.clients = clients.iter().map(known).collect();
        gate
    }

    #[test]
    fn each_client_keeps_to_its_own_topics() {
        let gate = gate(&["fridge", "lamp"]);
        assert_eq!(gate.enters(Some("fridge"), b"secret"), Ok(Some("fridge")));
        assert_eq!(gate.enters(Some("fridge"), b"secrets"), Err("wrong_password"));
        assert_eq!(gate.enters(Some("door"), b"secret"), Err("unknown_user"));
        assert_eq!(gate.enters(None, b""), Err("no_user"));
        assert!(gate.publishes(Some("fridge"), "tele/fridge/SENSOR"));
        assert!(!gate.publishes(Some("fridge"), "tele/lamp/SENSOR"));
        assert!(!gate.publishes(None, "tele/fridge/SENSOR"));
        assert!(gate.subscribes(Some("lamp"), "cmnd/lamp/#") && !gate.subscribes(Some("lamp"), "tele/#"));
        assert!(gate.subscribes(Some("nonsite-1"), "tele/+/SENSOR"));
        assert!(!gate.publishes(Some("nonsite-1"), "tele/fridge/SENSOR"), "a gateway only listens");
    }

    #[test]
    fn without_named_clients_this_machine_may_do_anything() {
        let gate = gate(&[]);
        assert_eq!(gate.enters(None, b""), Ok(None));
        assert_eq!(gate.enters(Some("whoever"), b"whatever"), Ok(None));
        assert_eq!(gate.enters(Some("nonsite-1"), b"guess"), Err("wrong_password"));
        assert!(gate.publishes(None, "a") && gate.subscribes(None, "#"));
    }
}
