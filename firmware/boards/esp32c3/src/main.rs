//! The program that boards are flashed with: takes updates, blinks, and does nothing else.
#![no_std]
#![no_main]

mod panic;

use airlift_esp::{Airlift, Application, Hardware, SOCKETS, Verdict};
use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_time::Timer;
use esp_bootloader_esp_idf::{
    BUILD_DATE, BUILD_TIME, ESP_IDF_COMPATIBLE_VERSION, MMU_PAGE_SIZE, SECURE_VERSION,
};
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::peripherals::{FLASH, RTC_TIMER, TIMG1};
use esp_hal::rng::Rng;
use static_cell::StaticCell;

#[cfg(feature = "emulator")]
use airlift_esp::emulator::OpenEth;
#[cfg(feature = "rtos")]
use esp_hal::timer::systimer::SystemTimer;
#[cfg(feature = "wifi")]
use {
    airlift_esp::usb::Firmware,
    airlift_esp::wifi::{self, Radio},
    airlift_esp::{Settings, Text},
    esp_hal::clock::CpuClock,
    esp_hal::peripherals::USB_DEVICE,
    esp_radio::wifi::Interface,
};

#[cfg(feature = "emulator")]
type Interface = OpenEth;

/// The version in the application descriptor and in the log.
const VERSION: &str = env!("AIRLIFT_VERSION");

esp_bootloader_esp_idf::esp_app_desc!(
    VERSION,
    env!("CARGO_PKG_NAME"),
    BUILD_TIME,
    BUILD_DATE,
    ESP_IDF_COMPATIBLE_VERSION,
    MMU_PAGE_SIZE,
    // Any eFuse block revision.
    0,
    u16::MAX,
    SECURE_VERSION
);

/// Airlift's sockets, and one for DHCP.
static RESOURCES: StaticCell<StackResources<{ SOCKETS + 1 }>> = StaticCell::new();

#[cfg(feature = "wifi")]
#[esp_rtos::main]
async fn main(spawner: Spawner) -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    let airlift = start(peripherals.FLASH, peripherals.TIMG1, peripherals.RTC_TIMER);
    wifi::give_heap();
    esp_rtos::start(
        SystemTimer::new(peripherals.SYSTIMER).alarm0,
        peripherals.FROM_CPU_INTR0,
    );
    let (radio, interface) = match Radio::start(peripherals.WIFI) {
        Ok(radio) => radio,
        Err(error) => panic!("the radio does not start: {error:?}"),
    };
    let settings = airlift.settings();
    let id = airlift.id();
    let led = Output::new(peripherals.GPIO8, Level::High, OutputConfig::default());
    let stack = run(spawner, airlift, interface, led);
    spawner.spawn(join(radio, settings).unwrap());
    spawner.spawn(provision(peripherals.USB_DEVICE, settings, stack, id).unwrap());
    core::future::pending().await
}

#[cfg(feature = "wifi")]
#[embassy_executor::task]
async fn join(radio: Radio, mut settings: Settings) -> ! {
    let network = settings.network().await;
    radio.run(network).await
}

#[cfg(feature = "wifi")]
#[embassy_executor::task]
async fn provision(
    usb: USB_DEVICE<'static>,
    settings: Settings,
    stack: Stack<'static>,
    id: Text<32>,
) -> ! {
    let firmware = Firmware {
        name: env!("CARGO_PKG_NAME"),
        version: VERSION,
    };
    airlift_esp::usb::provision(usb, settings, stack, firmware, id.as_str()).await
}

#[cfg(all(feature = "emulator", feature = "rtos"))]
#[esp_rtos::main]
async fn main(spawner: Spawner) -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let airlift = start(peripherals.FLASH, peripherals.TIMG1, peripherals.RTC_TIMER);
    esp_alloc::heap_allocator!(size: 16 * 1024);
    esp_rtos::start_with_idle_hook(
        SystemTimer::new(peripherals.SYSTIMER).alarm0,
        peripherals.FROM_CPU_INTR0,
        airlift_esp::emulator::idle,
    );
    let led = Output::new(peripherals.GPIO8, Level::High, OutputConfig::default());
    emulated(spawner, airlift, led);
    // Every allocation since the start: an update must not add to it.
    let mut seen = 0;
    loop {
        let stats = esp_alloc::HEAP.stats();
        if stats.total_allocated != seen {
            seen = stats.total_allocated;
            log::info!("heap: {seen} bytes were allocated since the start");
        }
        Timer::after_millis(100).await;
    }
}

#[cfg(all(feature = "emulator", not(feature = "rtos")))]
#[esp_hal::main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let airlift = start(peripherals.FLASH, peripherals.TIMG1, peripherals.RTC_TIMER);
    let led = Output::new(peripherals.GPIO8, Level::High, OutputConfig::default());
    airlift_esp::emulator::run(|spawner| emulated(spawner, airlift, led))
}

#[cfg(feature = "emulator")]
fn emulated(spawner: Spawner, airlift: Airlift, led: Output<'static>) {
    let interface = OpenEth::start([2, 0, 0, 0xC3, 0, 1]).unwrap_or_else(|| unreachable!());
    spawner.spawn(poll().unwrap());
    run(spawner, airlift, interface, led);
}

/// The boot guard, before anything else that may fail.
fn start(flash: FLASH<'static>, watchdog: TIMG1<'static>, rtc: RTC_TIMER<'static>) -> Airlift {
    let airlift = match Airlift::start(Hardware {
        flash,
        watchdog,
        rtc,
    }) {
        Ok(airlift) => airlift,
        Err(failure) => panic!("{failure}"),
    };
    log::info!("{} {VERSION} (built {BUILD_DATE})", env!("CARGO_PKG_NAME"));
    trial::misbehave();
    airlift
}

/// Spawns the tasks that every board has.
fn run(
    spawner: Spawner,
    airlift: Airlift,
    interface: Interface,
    led: Output<'static>,
) -> Stack<'static> {
    let random = Rng::new();
    let (stack, runner) = embassy_net::new(
        interface,
        Config::dhcpv4(Default::default()),
        RESOURCES.init(StackResources::new()),
        u64::from(random.random()) << 32 | u64::from(random.random()),
    );
    spawner.spawn(network(runner).unwrap());
    spawner.spawn(blink(led, stack).unwrap());
    spawner.spawn(update(airlift, spawner, stack).unwrap());
    stack
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn update(airlift: Airlift, spawner: Spawner, stack: Stack<'static>) -> ! {
    airlift.run(spawner, stack, Check).await
}

#[cfg(feature = "emulator")]
#[embassy_executor::task]
async fn poll() -> ! {
    airlift_esp::emulator::poll().await
}

/// What this program asks of a new version besides the network: nothing.
struct Check;

impl Application for Check {
    async fn check(&mut self) -> Verdict {
        trial::confirm().await
    }
}

/// Many small boards have a plain LED from 3.3 V to GPIO8: low is on. Short flashes while there is no
/// network, long ones when there is.
#[embassy_executor::task]
async fn blink(mut led: Output<'static>, stack: Stack<'static>) -> ! {
    loop {
        let (on, off) = if stack.is_config_up() {
            (1000, 1000)
        } else {
            (100, 300)
        };
        led.set_low();
        Timer::after_millis(on).await;
        led.set_high();
        Timer::after_millis(off).await;
    }
}

/// Releases for tests: what a bad one does is chosen when it is built.
mod trial {
    use airlift_esp::Verdict;

    const KIND: Option<&str> = option_env!("AIRLIFT_TRIAL");

    /// Dies before anything works, if it is that kind.
    pub fn misbehave() {
        match KIND.unwrap_or("") {
            "panics" => panic!("this release was built to panic"),
            "hangs" => loop {
                core::hint::spin_loop();
            },
            _ => {}
        }
    }

    /// The application's own check.
    pub async fn confirm() -> Verdict {
        match KIND.unwrap_or("") {
            "never_confirms" => core::future::pending().await,
            "fails_check" => Verdict::failed("this release was built to fail its check"),
            _ => Verdict::Ready,
        }
    }
}
