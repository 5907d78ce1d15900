import Checkpoints
import Testing

@Suite("Grids of ranks") struct RankGridTests {
    private func grid(_ points: [[Int64]]) -> RankGrid {
        var grid = RankGrid()
        for point in points { grid.insert(point) }
        return grid
    }

    @Test func whatIsMissingInTheGrid() {
        #expect(grid([[0], [1], [2]]).missing([nil], atMost: 8) == [])
        #expect(grid([[0], [2]]).missing([nil], atMost: 8) == [[1]])
        #expect(grid([[0]]).missing([3], atMost: 8) == [[1], [2]])
        #expect(grid([[0, 0], [1, 1]]).missing([nil, nil], atMost: 8) == [[0, 1], [1, 0]])
        #expect(grid([[0, 0]]).missing([1000, 1000], atMost: 3) == [[0, 1], [0, 2], [0, 3]])
        #expect(grid([[5, 0]]).missing([nil, 2], atMost: 2) == [[0, 0], [0, 1]])
        #expect(grid([]).missing([nil], atMost: 8) == [])
        #expect(grid([[RankGrid.mostRanks]]).isEmpty)
        #expect(grid([[0, 0, 0]]).missing([1 << 20, 1 << 20, 1 << 20], atMost: 1).count == 1)
    }

    @Test(
        arguments: [
            ("mp_rank_03_model_states.pt", ["mp_rank_", "_model_states.pt"], [3]),
            (
                "zero_pp_rank_12_mp_rank_00_optim_states.pt", ["zero_pp_rank_", "_mp_rank_", "_optim_states.pt"],
                [12, 0]
            ),
            ("mp_rank_00_001", ["mp_rank_", "_", ""], [0, 1]), ("mp_rank_00_001", ["mp_rank_", ""], nil),
            ("mp_rank_", ["mp_rank_", ""], nil), ("mp_rank_1x", ["mp_rank_", ""], nil), ("x", ["mp_rank_", ""], nil),
            ("mp_rank_99999999999999999999", ["mp_rank_", ""], nil),
        ] as [(String, [String], [Int64]?)])
    func numbersInAPattern(name: String, pattern: [String], expected: [Int64]?) {
        #expect(name.numbers(in: pattern) == expected)
    }
}
