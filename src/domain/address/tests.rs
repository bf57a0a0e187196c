use super::*;

const NOWHERE: &[&str] = &[];
const LOCAL: &[&str] = &["127.0.0.0/8", "10.1.0.0/16", "fd00::/8", "198.51.100.7/32"];

fn rule(allow_private: &[&str]) -> AddressRule {
    AddressRule::new(
        allow_private
            .iter()
            .map(|net| net.parse().expect("a network"))
            .collect(),
    )
}

fn patterns(texts: &[&str]) -> Vec<HostPattern> {
    texts
        .iter()
        .map(|text| text.parse().expect("a pattern"))
        .collect()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

/// The code of the refusal, or how far an allowed URL may reach.
fn verdict(url: &str, purpose: Purpose<'_>, rule: &AddressRule) -> String {
    let Ok(url) = Url::parse(url) else {
        return "not a URL".into();
    };
    match check_url(&url, purpose, rule) {
        Ok(Reach::Public) => "public".into(),
        Ok(Reach::OnlyAllowed(fault)) => format!("allowed, else {}", fault.code()),
        Err(fault) => fault.code().into(),
    }
}

#[test]
fn addresses_that_are_public() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2003::1",
        "3ffe:ffff::1",
        "3fff:1000::1",
        "2a00::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        assert!(is_global(address.parse().expect("an address")), "{address}");
    }
}

#[test]
fn addresses_that_are_not() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:0:0:1::1",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "100:0:0:1::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002:0808:0808::1",
        "2002:7f00:1::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "feff::1",
        "ff02::1",
        "ff0e::1",
    ] {
        assert!(!is_global(address.parse().expect("an address")), "{address}");
    }
}

#[test]
fn endpoint_urls_where_nothing_private_is_allowed() {
    for (url, expected) in [
        ("https://example.com/hook", "public"),
        ("https://example.com:443/hook?a=b", "public"),
        ("https://EXAMPLE.com", "public"),
        ("https://bücher.example/", "public"),
        ("https://example.com./", "public"), // judged by what it resolves to
        ("https://localhost/", "public"),    // the same
        ("https://8.8.8.8/", "public"),
        ("https://[2606:4700:4700::1111]/", "public"),
        ("https://134744072/", "public"), // 8.8.8.8
        ("http://example.com/", "forbidden_scheme"),
        ("http://8.8.8.8/", "forbidden_scheme"),
        ("http://example.com:443/", "forbidden_scheme"),
        ("ftp://example.com/", "forbidden_scheme"),
        ("ws://example.com/", "forbidden_scheme"),
        ("file:///etc/passwd", "forbidden_scheme"),
        ("gopher://example.com:443/", "forbidden_scheme"),
        ("data:text/html,hi", "forbidden_scheme"),
        ("unix:/run/docker.sock", "forbidden_scheme"),
        ("https://example.com:8443/", "forbidden_port"),
        ("https://example.com:80/", "forbidden_port"),
        ("https://example.com:22/", "forbidden_port"),
        ("https://8.8.8.8:8443/", "forbidden_port"),
        ("https://user@example.com/", "has_userinfo"),
        ("https://user:pass@example.com/", "has_userinfo"),
        ("https://:pass@example.com/", "has_userinfo"),
        ("https://example.com%40evil.example/", "not a URL"),
        ("https://example.com@127.0.0.1/", "has_userinfo"),
        ("https://example.com#@127.0.0.1/", "has_fragment"),
        ("https://example.com/#", "has_fragment"),
        ("https://example.com/#part", "has_fragment"),
        ("https:///", "not a URL"),
        ("https://./", "no_host"),
        ("https:///127.0.0.1/", "forbidden_address"), // slashes in excess are dropped
        ("https://127.0.0.1/", "forbidden_address"),
        ("https://127.0.0.1./", "forbidden_address"),
        ("https://127.1/", "forbidden_address"),
        ("https://0/", "forbidden_address"),
        ("https://2130706433/", "forbidden_address"),   // decimal
        ("https://017700000001/", "forbidden_address"), // octal
        ("https://0177.0.0.01/", "forbidden_address"),
        ("https://0x7f000001/", "forbidden_address"), // hexadecimal
        ("https://0x7f.0x0.0x0.0x1/", "forbidden_address"),
        ("https://127%2e0.0.1/", "forbidden_address"), // percent-encoded
        ("https://127。0。0。1/", "forbidden_address"), // ideographic stops
        ("https://①②⑦.0.0.1/", "forbidden_address"),   // circled digits
        ("https://256.0.0.1/", "not a URL"),
        ("https://4294967296/", "not a URL"),
        ("https://1.2.3.4.5/", "not a URL"),
        ("https://169.254.169.254/latest/meta-data/", "forbidden_address"),
        ("https://2852039166/", "forbidden_address"),
        ("https://10.1.2.3/", "forbidden_address"),
        ("https://[::1]/", "forbidden_address"),
        ("https://[::]/", "forbidden_address"),
        ("https://[0:0:0:0:0:ffff:7f00:1]/", "forbidden_address"),
        ("https://[::ffff:169.254.169.254]/", "forbidden_address"),
        ("https://[64:ff9b::a9fe:a9fe]/", "forbidden_address"),
        ("https://[2002:7f00:1::]/", "forbidden_address"),
        ("https://[fe80::1]/", "forbidden_address"),
        ("https://[fe80::1%25eth0]/", "not a URL"),
        ("https://[fd00:ec2::254]/", "forbidden_address"),
        ("http://127.0.0.1:8080/", "forbidden_address"),
        ("https:\\\\127.0.0.1\\", "forbidden_address"), // backslashes are slashes
        ("https://exam\tple.com/", "public"),           // tabs are dropped
        ("https://exam ple.com/", "not a URL"),
    ] {
        assert_eq!(verdict(url, Purpose::Endpoint, &rule(NOWHERE)), expected, "{url}");
    }
}

#[test]
fn endpoint_urls_where_some_private_networks_are_allowed() {
    for (url, expected) in [
        ("https://example.com/", "public"),
        ("http://receiver.example:9000/", "allowed, else forbidden_scheme"),
        ("https://receiver.example:9443/", "allowed, else forbidden_port"),
        ("http://127.0.0.1:8080/", "allowed, else forbidden_scheme"),
        ("https://127.0.0.1:8443/", "allowed, else forbidden_port"),
        ("https://127.0.0.1/", "public"),
        ("http://2130706433:8080/", "allowed, else forbidden_scheme"),
        (
            "http://[::ffff:127.0.0.1]:8080/",
            "allowed, else forbidden_scheme",
        ),
        ("http://[fd12::1]:8080/", "allowed, else forbidden_scheme"),
        ("http://10.1.255.1/", "allowed, else forbidden_scheme"),
        ("http://10.2.0.1/", "forbidden_address"),
        ("https://10.2.0.1/", "forbidden_address"),
        ("http://[64:ff9b::10.1.0.1]/", "forbidden_address"), // reached through a translator: another address
        ("http://[::1]:8080/", "forbidden_address"),
        ("http://8.8.8.8/", "forbidden_scheme"),
        ("https://8.8.8.8:8443/", "forbidden_port"),
        ("http://user@127.0.0.1:8080/", "has_userinfo"),
        ("http://127.0.0.1:8080/#x", "has_fragment"),
        ("ftp://127.0.0.1/", "forbidden_scheme"),
    ] {
        assert_eq!(verdict(url, Purpose::Endpoint, &rule(LOCAL)), expected, "{url}");
    }
}

#[test]
fn source_urls_must_also_be_on_the_list() {
    let list = patterns(&[
        "*.runware.ai",
        "cdn.example",
        "127.0.0.1",
        "[::1]",
        "8.8.4.4",
        "10.9.9.9",
    ]);
    for (url, expected) in [
        ("https://vm.runware.ai/video/x.mp4?sig=1", "public"),
        ("https://VM.Runware.AI/", "public"),
        ("https://a.b.runware.ai/", "public"),
        ("https://vm。runware。ai/", "public"), // the same name, spelt otherwise
        ("https://runware.ai/", "forbidden_host"),
        ("https://evilrunware.ai/", "forbidden_host"),
        ("https://vm.runware.ai.evil.example/", "forbidden_host"),
        ("https://vm.runware.ai./", "forbidden_host"),
        ("https://.runware.ai/", "forbidden_host"),
        ("https://vm..runware.ai/", "forbidden_host"),
        ("https://evil.example/vm.runware.ai", "forbidden_host"),
        ("https://evil.example?.runware.ai", "forbidden_host"),
        ("https://evil.example\\.runware.ai/", "forbidden_host"),
        ("https://vm.runwаre.ai/", "forbidden_host"), // a Cyrillic letter
        ("https://cdn.example/", "public"),
        ("https://x.cdn.example/", "forbidden_host"),
        ("https://vm.runware.ai:8443/", "allowed, else forbidden_port"),
        ("http://vm.runware.ai/", "allowed, else forbidden_scheme"),
        ("https://vm.runware.ai@evil.example/", "has_userinfo"),
        ("https://8.8.4.4/", "public"),
        ("https://8.8.8.8/", "forbidden_host"),
        ("http://127.0.0.1:9000/", "allowed, else forbidden_scheme"),
        ("http://127.0.0.2:9000/", "forbidden_host"),
        ("http://[::ffff:127.0.0.1]:9000/", "forbidden_host"),
        ("https://[::1]/", "forbidden_address"), // named, but neither public nor allowed
        ("https://10.9.9.9/", "forbidden_address"),
    ] {
        assert_eq!(
            verdict(url, Purpose::Source(&list), &rule(LOCAL)),
            expected,
            "{url}"
        );
    }
    assert_eq!(
        verdict("https://vm.runware.ai/", Purpose::Source(&[]), &rule(LOCAL)),
        "forbidden_host"
    );
}

#[test]
fn every_address_of_a_name_must_be_right() {
    let plain = Reach::OnlyAllowed(GuardError::ForbiddenScheme);
    for (answer, public, only_allowed) in [
        (&["8.8.8.8"][..], "ok", "forbidden_scheme"),
        (&["8.8.8.8", "2606:4700::1"], "ok", "forbidden_scheme"),
        (&["127.0.0.1"], "ok", "ok"),
        (&["127.0.0.1", "127.0.0.2", "fd00::1"], "ok", "ok"),
        (&["::ffff:127.0.0.1"], "ok", "ok"),
        (&["127.0.0.1", "8.8.8.8"], "ok", "forbidden_scheme"),
        (&["198.51.100.7"], "ok", "ok"),
        (&["198.51.100.8"], "forbidden_address", "forbidden_address"),
        (
            &["8.8.8.8", "169.254.169.254"],
            "forbidden_address",
            "forbidden_address",
        ),
        (
            &["169.254.169.254", "8.8.8.8"],
            "forbidden_address",
            "forbidden_address",
        ),
        (&["127.0.0.1", "::1"], "forbidden_address", "forbidden_address"),
        (
            &["8.8.8.8", "64:ff9b::7f00:1"],
            "forbidden_address",
            "forbidden_address",
        ),
        (&[], "unresolvable", "unresolvable"),
    ] {
        let code = |reach| match rule(LOCAL).check_addresses(reach, &addresses(answer)) {
            Ok(()) => "ok",
            Err(fault) => fault.code(),
        };
        assert_eq!(code(Reach::Public), public, "{answer:?} over https");
        assert_eq!(code(plain), only_allowed, "{answer:?} over http");
    }
}

#[test]
fn only_a_name_that_did_not_resolve_is_worth_another_try() {
    assert!(GuardError::Unresolvable.is_retryable());
    let address = "10.0.0.1".parse().expect("an address");
    for lasting in [
        GuardError::ForbiddenAddress(address),
        GuardError::ForbiddenHost,
        GuardError::ForbiddenScheme,
    ] {
        assert!(!lasting.is_retryable(), "{lasting:?}");
    }
    assert!(
        !GuardError::ForbiddenAddress(address)
            .to_string()
            .contains("10.0.0.1")
    );
}

#[test]
fn patterns_are_read_and_shown_alike() {
    for text in ["vm.runware.ai", "*.runware.ai", "127.0.0.1", "[::1]"] {
        assert_eq!(
            text.parse::<HostPattern>()
                .map(|pattern| pattern.to_string())
                .as_deref(),
            Ok(text)
        );
    }
    assert_eq!(
        "*.RUNWARE.ai".parse(),
        Ok(HostPattern::Below("runware.ai".into()))
    );
    for wrong in [
        "",
        "*",
        "*.",
        "**.a",
        "a.*",
        "*a.example",
        "*.127.0.0.1",
        "*.[::1]",
        "::1",
        "vm.runware.ai:443",
        "vm.runware.ai.",
        "*..runware.ai",
        ".runware.ai",
        "https://vm.runware.ai",
        "vm.runware.ai/x",
        "a b",
        "user@vm.runware.ai",
    ] {
        assert!(wrong.parse::<HostPattern>().is_err(), "{wrong:?}");
    }
}
