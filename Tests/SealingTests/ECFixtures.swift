/// Keys made for these tests with openssl(1), which also made the signatures over "the ship lies still".
enum ECFixtures {
    static let message: [UInt8] = Array("the ship lies still".utf8)

    static let p256 = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgj2BqfyO8CjidDsAt
        QIA6ClGrI3tYY8ri+9FDE6cnyXGhRANCAAQgT+xTDGZ35o0Imt+kX1FvfPDKtvrv
        EEe9FwNq3ljQ+3Jsg2ZUv6+rp+j5O/dXFpKEXF2vxHNConQBfRaCqklf
        -----END PRIVATE KEY-----

        """

    static let p256Public = """
        -----BEGIN PUBLIC KEY-----
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIE/sUwxmd+aNCJrfpF9Rb3zwyrb6
        7xBHvRcDat5Y0PtybINmVL+vq6fo+Tv3VxaShFxdr8RzQqJ0AX0WgqpJXw==
        -----END PUBLIC KEY-----

        """

    static let p384SEC1 = """
        -----BEGIN EC PRIVATE KEY-----
        MIGkAgEBBDBT7ELC3iKxKJQQg6F69zRU9y6ePYXbaf+1Dw0ASZ3eb7V9I+4oSfp+
        yngcq8SCEMqgBwYFK4EEACKhZANiAAS1ULjwdOw0M4H/9cuuxp4h2BgPrdvUX7F9
        WXH/sLe0VGQYjVN6ScFrnkuFChIwObGtnvRijI6Vwx+NIr6ySKlt9DcAUKqTtJNn
        dbLgwBFsdnSZGG66H4f91WU9i0h8TC8=
        -----END EC PRIVATE KEY-----

        """

    static let p384Public = """
        -----BEGIN PUBLIC KEY-----
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEtVC48HTsNDOB//XLrsaeIdgYD63b1F+x
        fVlx/7C3tFRkGI1TeknBa55LhQoSMDmxrZ70YoyOlcMfjSK+skipbfQ3AFCqk7ST
        Z3Wy4MARbHZ0mRhuuh+H/dVlPYtIfEwv
        -----END PUBLIC KEY-----

        """

    static let p521Encrypted = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIIBXTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQIqTprn0CJQnECAggA
        MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBB1podGWmp0mA4BJAsPy9HvBIIB
        AEA+em3H6MIutlVnRaTnPH/B6FCA+MCM9X2LitKcR9SU7VKcusM9Iop4WGWYI8hB
        f+z088SlwW3ZiOWoj8vadrY1oqWJDXSwLGEHli6BU5L946t+gvWHHLmccvmROhRt
        KzpBlt7da3kylqDeud1ctwc+Jh8cfNYrIK+RZy6U7M/lpTelInkgE6eHpCUpJBMh
        x+QdauVTpDvxSH5wM4fwhFM3RWJTGvXcbZa8jWhkkIvvJKoFybN70vXonkB2FSkO
        bBNkqdFTgi+C9tlQhJXaBoUel1EnxxK8/GXcOxDGme3xhSLhy9zM1iGLfboTk/a1
        4rGwqtmSAlLJLWrbjW9BgiY=
        -----END ENCRYPTED PRIVATE KEY-----

        """

    static let p521Public = """
        -----BEGIN PUBLIC KEY-----
        MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBYvxvAJ+sa0pPHV+sHB8dyfSs8d8i
        3RSMjvCDA1+JEBWAt3g2HvooaOcyLwE8SI/FZhV7LLdUf9TmbqpQIRkqL1UBX3Vm
        rpVCSLzjbfcKPYAS2I/fWLT9GYS0LttXeMs6CayAjjcGTSXQnCVzLn3+fLYvZdm8
        DxesxHKiLPP8osnxL6U=
        -----END PUBLIC KEY-----

        """

    static let secp256k1 = """
        -----BEGIN PRIVATE KEY-----
        MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgfBZc77IIimquteN1fo67
        TTmrgug5eg2SNECeyhkqkV+hRANCAASumrfD5A15JB2FsZ+WGx39J9O5YPNkPnGb
        lM/orcKzSU9z5G7DvMf7C9EzSx0R58MOxQFhXM6kXfE0sDWNg+2v
        -----END PRIVATE KEY-----

        """

    static let ed25519 = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VwBCIEIOfmghmGpTV7p//t3zrr6MxYdZX0fs/zeJlKS1C15jDD
        -----END PRIVATE KEY-----

        """

    static let p521Passphrase = "correct horse"

    static let p256Signature =
        "304502203a76a43f42cc312afe6837affd59cb9692d2cf126d7b45e5ca9dbd77f2f9ddb5022100c0968fd38bea54fa5c"
        + "ad35563d3ee60d5bde85426ba229b09254aaa40cad9895"

    static let p384Signature =
        "3065023018dbdf0a23697e6b223f67f679ccfa775ead1a55458e6e3e69fb6eaee47a442fd07f45e55b0eb2b6c4616449"
        + "95e5da33023100f21a35570ba19825295245c572bf433a48abbfe1ab8d90e1bd4bd49a7dba2cc56637230b23256c9432"
        + "08468654b2dc2c"

    static let p521Signature =
        "308187024201560c38f1e8a6ecc24efaff81942817f36fe87cbf3fde7b62e525a671d3913e28e018b35f3bdceec4339b"
        + "7ad10cfcdf898c81b5ee717daeaaa63e1506f3216350400241483485d268ea914163ddb4d7501564bc9268b03cc89414"
        + "8a528ea4c802823e925cc94e9602243ffaae8abd22646c45b1659dc44dfbfbc012f0f48200ae173c1b6c"
}
