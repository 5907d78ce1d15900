/// The types of GGUF values and tensors, by their numbers in the file.
enum GGUFType {
    /// Bytes of a plain value (gguf_type), or nil for text, arrays and unknown numbers.
    static func valueSize(_ type: UInt32) -> UInt64? {
        switch type {
        case 0, 1, 7: 1
        case 2, 3: 2
        case 4, 5, 6: 4
        case 10, 11, 12: 8
        default: nil
        }
    }

    static let string: UInt32 = 8
    static let array: UInt32 = 9
    static let u32: UInt32 = 4

    /// The type of a tensor (ggml_type), or nil for one that is not known. Q8_1 is left out: it never lies in a file,
    /// and libraries disagree on its size.
    static func tensorType(_ type: UInt32) -> TensorDType? {
        switch type {
        case 0: return .f32
        case 1: return .f16
        case 24: return .i8
        case 25: return .i16
        case 26: return .i32
        case 27: return .i64
        case 28: return .f64
        case 30: return .bf16
        default:
            guard let (name, elements, bytes) = quantised[type] else { return nil }
            return .quantised(name: name, blockElements: elements, blockBytes: bytes)
        }
    }

    /// Name, elements of a block, bytes of a block.
    private static let quantised: [UInt32: (String, Int, Int)] = [
        2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20), 6: ("q5_0", 32, 22), 7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34),
        10: ("q2_k", 256, 84), 11: ("q3_k", 256, 110), 12: ("q4_k", 256, 144), 13: ("q5_k", 256, 176),
        14: ("q6_k", 256, 210), 15: ("q8_k", 256, 292), 16: ("iq2_xxs", 256, 66), 17: ("iq2_xs", 256, 74),
        18: ("iq3_xxs", 256, 98), 19: ("iq1_s", 256, 50), 20: ("iq4_nl", 32, 18), 21: ("iq3_s", 256, 110),
        22: ("iq2_s", 256, 82), 23: ("iq4_xs", 256, 136), 29: ("iq1_m", 256, 56), 34: ("tq1_0", 256, 54),
        35: ("tq2_0", 256, 66), 39: ("mxfp4", 32, 17), 40: ("nvfp4", 64, 36), 41: ("q1_0", 128, 18),
        42: ("q2_0", 64, 18),
    ]
}
