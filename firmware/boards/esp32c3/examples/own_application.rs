//! A program of its own that takes updates: what Airlift adds to it is marked.
//!
//! It reads a sensor and serves nothing; everything a board needs for updates comes from the library.
//! The partition table is the one that `airlift-factory` writes.
#![no_std]
#![no_main]

use airlift_esp::wifi::{self, Radio}; // Airlift
use airlift_esp::{Airlift, Application, Hardware, SOCKETS, Settings, Verdict}; // Airlift
use core::sync::atomic::{AtomicBool, Ordering};
use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_time::Timer;
use esp_hal::clock::CpuClock;
use esp_hal::gpio::{Input, InputConfig};
use esp_hal::timer::systimer::SystemTimer;
use esp_radio::wifi::Interface;
use static_cell::StaticCell;

esp_bootloader_esp_idf::esp_app_desc!();

static RESOURCES: StaticCell<StackResources<{ SOCKETS + 1 }>> = StaticCell::new();
static SENSOR_WORKS: AtomicBool = AtomicBool::new(false);

#[esp_rtos::main]
async fn main(spawner: Spawner) -> ! {
    let p = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    // Airlift: the boot guard comes first, so that it sees whatever goes wrong below.
    let hardware = Hardware {
        flash: p.FLASH,
        watchdog: p.TIMG1,
        rtc: p.RTC_TIMER,
    };
    let airlift = Airlift::start(hardware).unwrap();

    wifi::give_heap();
    esp_rtos::start(SystemTimer::new(p.SYSTIMER).alarm0, p.FROM_CPU_INTR0);
    let (radio, interface) = Radio::start(p.WIFI).unwrap();
    let resources = RESOURCES.init(StackResources::new());
    let (stack, runner) =
        embassy_net::new(interface, Config::dhcpv4(Default::default()), resources, 1);
    spawner.spawn(network(runner).unwrap());
    spawner.spawn(join(radio, airlift.settings()).unwrap());
    spawner.spawn(update(airlift, spawner, stack).unwrap()); // Airlift

    let sensor = Input::new(p.GPIO4, InputConfig::default());
    loop {
        SENSOR_WORKS.store(sensor.is_high(), Ordering::Relaxed);
        Timer::after_secs(1).await;
    }
}

/// Airlift: a new version of this program stays only if its sensor works.
struct Check;

impl Application for Check {
    async fn check(&mut self) -> Verdict {
        match SENSOR_WORKS.load(Ordering::Relaxed) {
            true => Verdict::Ready,
            false => Verdict::not_yet("the sensor does not answer"),
        }
    }
}

/// Airlift: one task does the rest.
#[embassy_executor::task]
async fn update(airlift: Airlift, spawner: Spawner, stack: Stack<'static>) -> ! {
    airlift.run(spawner, stack, Check).await
}

#[embassy_executor::task]
async fn join(radio: Radio, mut settings: Settings) -> ! {
    let network = settings.network().await;
    radio.run(network).await
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    airlift_esp::note_panic(); // Airlift: the next start knows why
    esp_hal::system::software_reset()
}
