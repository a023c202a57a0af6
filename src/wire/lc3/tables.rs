//! Layer 1, LC3: the constants of the codec for 16 kHz and 10 ms, in the shapes that the decoder reads. The numbers are those
//! of the `lc3-codec` crate; this file only arranges them. Computes no audio.

use lc3_codec::tables::{
    band_index_tables as bands, long_term_post_filter_coef as post, mdct_windows as windows,
    spec_noise_shape_quant_tables as shape, spectral_data_tables as spectral,
    temporal_noise_shaping_tables as tns,
};

/// Spectral lines of a frame, and samples.
pub(super) const LINES: usize = 160;
/// Bands with a scale factor of their own.
pub(super) const BANDS: usize = 64;

/// Which model a line pair's context chooses.
pub(super) static MODELS: [u8; 4096] = spectral::AC_SPEC_LOOKUP;
/// Borders of the 17 symbols of a line pair, of 1024.
pub(super) static PAIRS: [[u16; 18]; 64] = borders(&spectral::AC_SPEC_CUMFREQ);
/// Borders of the filter order of the temporal noise shaping: at high and at low rates.
pub(super) static TNS_ORDER: [[u16; 9]; 2] = borders(&tns::AC_TNS_ORDER_CUMFREQ);
/// Borders of its coefficients.
pub(super) static TNS_COEFFICIENT: [[u16; 18]; 8] = borders(&tns::AC_TNS_COEF_CUMFREQ);

/// First stage of the scale factors, low half.
pub(super) static SHAPE_LOW: [[f32; 8]; 32] = shape::LFCB;
/// High half.
pub(super) static SHAPE_HIGH: [[f32; 8]; 32] = shape::HFCB;
/// Gains of the four shapes of the second stage.
pub(super) static SHAPE_GAINS: [&[f32]; 4] = [
    &shape::SNS_VQ_REG_ADJ_GAINS,
    &shape::SNS_VQ_REG_LF_ADJ_GAINS,
    &shape::SNS_VQ_NEAR_ADJ_GAINS,
    &shape::SNS_VQ_FAR_ADJ_GAINS,
];
/// How many lattice points lie before a number of pulses, by remaining dimensions.
pub(super) static PULSES: [[usize; 11]; 16] = shape::MPVQ_OFFSETS;
/// The second stage's transform, row by row.
pub(super) static SHAPE_TRANSFORM: [[f32; 16]; 16] = shape::D;
/// First line of each band, and the end.
pub(super) static BAND_STARTS: [usize; BANDS + 1] = bands::I_16000_10MS;

/// Window of two frames.
pub(super) static WINDOW: [f32; 2 * LINES] = windows::W_N160_10MS;

/// Forward taps of the pitch filter, by rate.
pub(super) static POST_FORWARD: [[f32; 3]; 4] = post::TAB_LTPF_NUM_16000;
/// Backward taps, by quarter of a sample.
pub(super) static POST_BACKWARD: [[f32; 5]; 4] = post::TAB_LTPF_DEN_16000;

/// Lower borders as the crate has them → borders with the common end 1024.
const fn borders<const ROWS: usize, const SYMBOLS: usize, const BORDERS: usize>(
    lower: &[[i16; SYMBOLS]; ROWS],
) -> [[u16; BORDERS]; ROWS] {
    assert!(BORDERS == SYMBOLS + 1);
    let mut out = [[1024; BORDERS]; ROWS];
    let mut row = 0;
    while row < ROWS {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            out[row][symbol] = lower[row][symbol] as u16;
            symbol += 1;
        }
        row += 1;
    }
    out
}
