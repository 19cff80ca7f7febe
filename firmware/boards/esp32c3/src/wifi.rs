//! Wi-Fi over esp-radio: joins the network of the settings, and joins it again.
//!
//! The driver allocates: [`give_heap`] first. It runs in threads of its own above the executor, so an
//! erase, or a call of littlefs that takes long, delays the program's own packets and not the radio.

use crate::status;
use airlift_provision::Credentials;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Timer, with_timeout};
use esp_hal::peripherals::WIFI;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{
    AuthenticationMethodConfig, Config, ControllerConfig, Interface, PowerSaveMode, WifiController,
    WifiError,
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
/// How often signal and power saving are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A network to join from now on.
static WANTED: Signal<CriticalSectionRawMutex, Credentials> = Signal::new();

/// Gives the radio's driver its memory. Call it once, before esp-rtos starts.
pub fn give_heap() {
    esp_alloc::heap_allocator!(#[esp_hal::ram(reclaimed)] size: RECLAIMED);
    esp_alloc::heap_allocator!(size: ORDINARY);
}

/// Joins this network instead of the one before.
pub fn join(network: Credentials) {
    WANTED.signal(network);
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
                WANTED.wait().await
            }
        };
        let mut wait = WAIT;
        loop {
            log::info!("wifi: joining {}", network.ssid().escape_ascii());
            match select(self.stay(&network), WANTED.wait()).await {
                Either::First(Ok(())) => wait = WAIT,
                Either::First(Err(error)) => {
                    log::warn!("wifi: {error:?}");
                    if let Either::Second(other) = select(Timer::after(wait), WANTED.wait()).await {
                        network = other;
                    }
                    wait = (wait * 2).min(MAX_WAIT);
                }
                Either::Second(other) => network = other,
            }
            status::set_signal(None);
        }
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
            match select(lost, Timer::after(LOOK)).await {
                Either::First(Ok(info)) => {
                    log::warn!("wifi: lost: {:?}", info.reason);
                    return Ok(());
                }
                Either::First(Err(error)) => return Err(error),
                Either::Second(()) => {}
            }
        }
    }
}
