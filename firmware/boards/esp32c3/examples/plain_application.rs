//! The program of `own_application.rs` before it took in Airlift: the same radio, network and sensor,
//! and no updates. What the two differ by, in lines and in bytes, is what updates cost.
#![no_std]
#![no_main]

use airlift_esp::wifi::{self, Radio};
use airlift_provision::Credentials;
use core::sync::atomic::{AtomicBool, Ordering};
use embassy_executor::Spawner;
use embassy_net::{Config, Runner, StackResources};
use embassy_time::Timer;
use esp_hal::clock::CpuClock;
use esp_hal::gpio::{Input, InputConfig};
use esp_hal::timer::systimer::SystemTimer;
use esp_radio::wifi::Interface;
use static_cell::StaticCell;

esp_bootloader_esp_idf::esp_app_desc!();

static RESOURCES: StaticCell<StackResources<1>> = StaticCell::new();
static SENSOR_WORKS: AtomicBool = AtomicBool::new(false);

#[esp_rtos::main]
async fn main(spawner: Spawner) -> ! {
    let p = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    wifi::give_heap();
    esp_rtos::start(SystemTimer::new(p.SYSTIMER).alarm0, p.FROM_CPU_INTR0);
    let (radio, interface) = Radio::start(p.WIFI).unwrap();
    let resources = RESOURCES.init(StackResources::new());
    let (_stack, runner) =
        embassy_net::new(interface, Config::dhcpv4(Default::default()), resources, 1);
    spawner.spawn(network(runner).unwrap());
    spawner.spawn(join(radio).unwrap());

    let sensor = Input::new(p.GPIO4, InputConfig::default());
    loop {
        SENSOR_WORKS.store(sensor.is_high(), Ordering::Relaxed);
        Timer::after_secs(1).await;
    }
}

#[embassy_executor::task]
async fn join(radio: Radio) -> ! {
    radio.run(Credentials::new(b"home", b"password")).await
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    esp_hal::system::software_reset()
}
