//! Wi-Fi over esp-radio: joins the network of the settings, and joins it again.
//!
//! The driver allocates: [`give_heap`] first. It runs in threads of its own above the executor.

use crate::status;
use airlift_provision::Credentials;
use airlift_provision::scan::{Network, Networks};
use embassy_futures::select::{Either, Either3, select, select3};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Timer, with_timeout};
use esp_hal::peripherals::WIFI;
use esp_radio::wifi::scan::ScanConfig;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{
    AuthenticationMethod, AuthenticationMethodConfig, Config, ControllerConfig, Interface,
    PowerSaveMode, WifiController, WifiError,
};

/// Bytes of heap in ordinary memory, besides what the bootloader leaves.
const ORDINARY: usize = 64 * 1024;
/// Bytes of heap in the memory that the second-stage bootloader used.
const RECLAIMED: usize = 64 * 1024;
/// How long joining may take.
const JOIN: Duration = Duration::from_secs(20);
/// First wait after a failure; it doubles up to [`MAX_WAIT`].
const WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long a scan may take, and whatever is done before it.
const SCAN: Duration = Duration::from_secs(25);
/// Access points that are heard at most: the driver allocates room for them.
const HEARD: usize = 32;
/// How often signal and power saving are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A network to join from now on.
static WANTED: Signal<CriticalSectionRawMutex, Credentials> = Signal::new();

/// Somebody wants to know which networks there are.
static ASKED: Signal<CriticalSectionRawMutex, ()> = Signal::new();
/// The answer.
static FOUND: Signal<CriticalSectionRawMutex, Networks> = Signal::new();

/// Gives the radio's driver its memory. Call it once, before esp-rtos starts.
pub fn give_heap() {
    esp_alloc::heap_allocator!(#[esp_hal::ram(reclaimed)] size: RECLAIMED);
    esp_alloc::heap_allocator!(size: ORDINARY);
}

/// Joins this network instead of the one before.
pub fn join(network: Credentials) {
    WANTED.signal(network);
}

/// The networks that the radio hears; none when it does not answer in time.
pub async fn scan() -> Networks {
    FOUND.reset();
    ASKED.signal(());
    with_timeout(SCAN, FOUND.wait()).await.unwrap_or_default()
}

/// The radio.
pub struct Radio(WifiController<'static>);

impl Radio {
    /// Starts the radio as a station; the interface is for embassy-net.
    ///
    /// # Errors
    /// [`WifiError`] of the driver.
    pub fn start(wifi: WIFI<'static>) -> Result<(Self, Interface), WifiError> {
        let controller = WifiController::new(wifi, ControllerConfig::default())?;
        Ok((Self(controller), Interface::station()))
    }

    /// Joins networks, for ever. `network` is the first, if one is known.
    pub async fn run(mut self, network: Option<Credentials>) -> ! {
        let mut network = match network {
            Some(network) => network,
            None => {
                log::info!("wifi: no network is known; set one over USB (Improv)");
                self.first_network().await
            }
        };
        let mut wait = WAIT;
        loop {
            log::info!("wifi: joining {}", network.ssid().escape_ascii());
            match select(self.stay(&network), WANTED.wait()).await {
                Either::First(Ok(())) => wait = WAIT,
                Either::First(Err(error)) => {
                    log::warn!("wifi: {error:?}");
                    match select3(Timer::after(wait), WANTED.wait(), ASKED.wait()).await {
                        Either3::First(()) => {}
                        Either3::Second(other) => network = other,
                        Either3::Third(()) => self.listen().await,
                    }
                    wait = (wait * 2).min(MAX_WAIT);
                }
                Either::Second(other) => network = other,
            }
            status::set_signal(None);
        }
    }

    /// Listens for whoever asks until there is a network to join.
    async fn first_network(&mut self) -> Credentials {
        let nowhere = Config::Station(StationConfig::default());
        if let Err(error) = self.0.set_config(&nowhere) {
            log::warn!("wifi: {error:?}");
        }
        loop {
            match select(WANTED.wait(), ASKED.wait()).await {
                Either::First(network) => return network,
                Either::Second(()) => self.listen().await,
            }
        }
    }

    /// Answers [`scan`].
    async fn listen(&mut self) {
        let mut networks = Networks::new();
        let config = ScanConfig::default().with_max(HEARD);
        match self.0.scan_async(&config).await {
            Ok(heard) => heard
                .iter()
                .filter_map(|ap| {
                    let open = ap.auth_method == Some(AuthenticationMethod::None);
                    Network::new(ap.ssid.as_str().as_bytes(), ap.signal_strength, !open)
                })
                .for_each(|network| networks.add(network)),
            Err(error) => log::warn!("wifi: {error:?}"),
        }
        FOUND.signal(networks);
    }

    /// Joins a network and stays until it is lost.
    async fn stay(&mut self, network: &Credentials) -> Result<(), WifiError> {
        let authentication = match network.password() {
            [] => AuthenticationMethodConfig::Open,
            password => AuthenticationMethodConfig::Wpa2Personal(password.try_into()?),
        };
        let station = StationConfig::default()
            .with_ssid(esp_radio::wifi::Ssid::try_from(network.ssid())?)
            .with_authentication(authentication);
        self.0.set_config(&Config::Station(station))?;
        match with_timeout(JOIN, self.0.connect_async()).await {
            Ok(Ok(joined)) => log::info!("wifi: joined on channel {}", joined.channel),
            Ok(Err(error)) => {
                log::warn!("wifi: {error:?}");
                return Err(WifiError::NotConnected);
            }
            Err(_) => return Err(WifiError::NotConnected),
        }
        let mut saving = None;
        loop {
            // Saving power costs a beacon interval a packet: not while an update waits for them.
            let mode = if status::is_updating() {
                PowerSaveMode::None
            } else {
                PowerSaveMode::Minimum
            };
            if saving != Some(mode) {
                self.0.set_power_saving(mode)?;
                saving = Some(mode);
            }
            let rssi = self.0.rssi().ok().and_then(|dbm| i8::try_from(dbm).ok());
            status::set_signal(rssi);
            let lost = self.0.wait_for_disconnect_async();
            match select3(lost, Timer::after(LOOK), ASKED.wait()).await {
                Either3::First(Ok(info)) => {
                    log::warn!("wifi: lost: {:?}", info.reason);
                    return Ok(());
                }
                Either3::First(Err(error)) => return Err(error),
                Either3::Second(()) => {}
                Either3::Third(()) => self.listen().await,
            }
        }
    }
}
