//! Announces the device (RFC 6762, RFC 6763): `_airlift._tcp.local.`

use crate::server::PORT;
use airlift_updater::device::Device;
use core::net::Ipv4Addr;
use edge_mdns::domain::base::Ttl;
use edge_mdns::host::{Host, Service, ServiceAnswers};
use edge_mdns::{HostAnswersMdnsHandler, MdnsHandler, MdnsRequest, MdnsResponse};
use embassy_futures::select::{Either, select};
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{IpAddress, IpEndpoint, Stack};
use embassy_time::{Duration, Timer};
use esp_hal::rng::Rng;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_PORT: u16 = 5353;
/// How long others may keep what they heard.
const TTL: Ttl = Ttl::from_secs(120);
/// Announced again this often: multicast over Wi-Fi gets lost.
const AGAIN: Duration = Duration::from_secs(50);
/// The first announcements come closer (RFC 6762 section 8.3 asks for two, a second apart).
const FIRST: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Memory of the responder.
pub(crate) struct Buffers {
    rx_meta: [PacketMetadata; 4],
    tx_meta: [PacketMetadata; 2],
    rx: [u8; 2048],
    tx: [u8; 1024],
    packet: [u8; 1024],
    answer: [u8; 768],
}

impl Buffers {
    pub const fn new() -> Self {
        Self {
            rx_meta: [PacketMetadata::EMPTY; 4],
            tx_meta: [PacketMetadata::EMPTY; 2],
            rx: [0; 2048],
            tx: [0; 1024],
            packet: [0; 1024],
            answer: [0; 768],
        }
    }
}

/// Announces the device while it has an address, for ever.
pub(crate) async fn respond(
    stack: Stack<'static>,
    device: &Device,
    id: &str,
    buffers: &'static mut Buffers,
) -> ! {
    let Buffers {
        rx_meta,
        tx_meta,
        rx,
        tx,
        packet,
        answer,
    } = buffers;
    let mut socket = UdpSocket::new(stack, rx_meta, rx, tx_meta, tx);
    let bound = socket.bind(MDNS_PORT).is_ok();
    loop {
        stack.wait_config_up().await;
        let joined = stack.join_multicast_group(GROUP).is_ok();
        if !bound || !joined {
            log::warn!("mdns: not announced, multicast does not work");
            core::future::pending::<()>().await;
        }
        let talking = talk(stack, device, id, &mut socket, packet, answer);
        select(talking, stack.wait_config_down()).await;
    }
}

async fn talk(
    stack: Stack<'static>,
    device: &Device,
    id: &str,
    socket: &mut UdpSocket<'_>,
    packet: &mut [u8],
    answer: &mut [u8],
) {
    let group = IpEndpoint::new(IpAddress::Ipv4(GROUP), MDNS_PORT);
    let mut announced = 0;
    loop {
        let wait = FIRST.get(announced).copied().unwrap_or(AGAIN);
        let (len, from) = match select(socket.recv_from(packet), Timer::after(wait)).await {
            Either::First(Ok((len, meta))) => (Some(len), meta.endpoint),
            Either::First(Err(_)) => continue,
            Either::Second(()) => (None, group),
        };
        let legacy = from.port != MDNS_PORT;
        let request = match len {
            Some(len) => MdnsRequest::Request {
                legacy,
                multicast: true,
                data: &packet[..len],
            },
            None => {
                announced += 1;
                MdnsRequest::None
            }
        };
        let Some(config) = stack.config_v4() else {
            return;
        };
        let info = device.info();
        let running = info.running_slot();
        let version = running
            .version
            .unwrap_or(airlift_wire::state::Text::empty());
        let chip = airlift_wire::image::chip_name(info.chip).unwrap_or("unknown");
        let host = Host {
            hostname: id,
            ipv4: config.address.address(),
            ipv6: core::net::Ipv6Addr::UNSPECIFIED,
            ttl: TTL,
        };
        let service = Service {
            name: id,
            priority: 0,
            weight: 0,
            service: "_airlift",
            protocol: "_tcp",
            port: PORT,
            service_subtypes: &[],
            txt_kvs: &[
                ("id", id),
                ("product", info.product.as_str()),
                ("chip", chip),
                ("version", version.as_str()),
                ("slot", info.running.name()),
                ("api", "1"),
            ],
        };
        let mut handler = HostAnswersMdnsHandler::new(ServiceAnswers::new(&host, &service));
        // What cannot be parsed is somebody else's, and no reason to say anything.
        if let Ok(MdnsResponse::Reply { data, delay }) = handler.handle(request, answer) {
            if delay {
                // RFC 6762 section 6: 20 to 120 ms, so that not all answer at once.
                let ms = 20 + u64::from(Rng::new().random() % 100);
                Timer::after_millis(ms).await;
            }
            let to = if legacy { from } else { group };
            let _lost = socket.send_to(data, to).await;
        }
    }
}
