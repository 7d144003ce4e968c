//! RabbitMQ, as Debian packages it, with node name, ports and folders of its own, so that it never meets one
//! that the machine runs for somebody else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::launch::{self, Launch};
use super::{Ports, Process, Service};
use crate::prerequisites;

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

pub(crate) struct RabbitMq;

impl Service for RabbitMq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn url(&self, ports: Ports) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", ports.clients)
    }

    fn start(&self, home: &Path, ports: Ports) -> Result<Vec<Process>> {
        if !Path::new(SERVER).exists() {
            prerequisites::install(&["rabbitmq-server"])?;
        }
        prepare(home, ports)?;
        let account = launch::hand_over(home, "rabbitmq")?;
        let launch = Launch { home, account, environment: environment(home, ports) };
        let epmd = launch.spawn("epmd", &["epmd", "-address", "127.0.0.1"])?;
        let node = launch.spawn("node", &[SERVER])?;
        Ok(vec![epmd, node])
    }

    fn is_ready(&self, ports: Ports) -> bool {
        // The listeners open last, after the boot steps.
        [ports.clients, ports.management].into_iter().all(|port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        })
    }
}

fn prepare(home: &Path, ports: Ports) -> Result<()> {
    fs::create_dir_all(home)?;
    fs::write(home.join("rabbitmq.conf"), configuration(ports))?;
    fs::write(home.join("enabled_plugins"), "[rabbitmq_management].\n")?;
    Ok(())
}

fn configuration(ports: Ports) -> String {
    let Ports { clients, management, .. } = ports;
    format!(
        "listeners.tcp.local = 127.0.0.1:{clients}\nlog.file.level = info\n\
         management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n"
    )
}

fn environment(home: &Path, ports: Ports) -> Vec<(&'static str, String)> {
    let inside = |name: &str| home.join(name).display().to_string();
    vec![
        ("HOME", inside("")),
        ("ERL_EPMD_PORT", ports.epmd.to_string()),
        ("RABBITMQ_NODENAME", "leveret-compare@localhost".into()),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("RABBITMQ_CONFIG_FILE", inside("rabbitmq")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", inside("mnesia")),
        ("RABBITMQ_LOG_BASE", inside("log")),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".into()),
        // Makes the script replace itself by the Erlang machine, whose id is then the one we know.
        ("RUNNING_UNDER_SYSTEMD", "true".into()),
    ]
}
