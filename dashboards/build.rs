//! Says loudly when the screen has not been built; never runs npm itself (it needs the network and
//! would break `cargo check` offline).

fn main() {
    let dist = std::path::Path::new("web/dist");
    println!("cargo:rerun-if-changed=web/dist/index.html");
    println!("cargo:rerun-if-changed=build.rs");
    let built = dist.join("index.html").exists();
    if !built {
        println!(
            "cargo:warning=the screen is not built (dashboards/web/dist is missing): run `make screen`, else the server shows a page that says so"
        );
        // rust-embed needs the folder.
        std::fs::create_dir_all(dist).expect("the package's own folder is writable");
    }
    println!("cargo:rustc-check-cfg=cfg(screen_built)");
    if built {
        println!("cargo:rustc-cfg=screen_built");
    }
}
