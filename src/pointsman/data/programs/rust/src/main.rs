//! Classify texts: `classify model.onnx "a text" ...`, or one text a line on stdin.

use std::error::Error;
use std::io::{self, BufRead, Write};

use ort::memory::Allocator;
use ort::session::Session;
use ort::value::Tensor;
use serde_json::{json, Map, Value};

struct Classifier {
    session: Session,
    names: Vec<String>,
}

impl Classifier {
    fn load(path: &str) -> ort::Result<Self> {
        // One thread: the model is too small to share out.
        let mut session = Session::builder()?
            .with_intra_threads(1)?
            .commit_from_file(path)?;
        let names = session.run(ort::inputs!["text" => tensor(b"")?])?["names"]
            .try_extract_strings()?
            .1;
        Ok(Self { session, names })
    }

    /// Gives the labels that apply to the bytes of a text, and each label's probability.
    fn classify(&mut self, text: &[u8]) -> ort::Result<Value> {
        let outputs = self.session.run(ort::inputs!["text" => tensor(text)?])?;
        let (_, labels) = outputs["labels"].try_extract_strings()?;
        let (_, scores) = outputs["scores"].try_extract_tensor::<f32>()?;
        let pairs = self.names.iter().zip(scores);
        let scores: Map<String, Value> = pairs
            .map(|(name, score)| (name.clone(), json!(score)))
            .collect();
        Ok(json!({ "labels": labels, "scores": scores }))
    }
}

fn tensor(text: &[u8]) -> ort::Result<Tensor<u8>> {
    if text.is_empty() {
        // `from_array` refuses an axis of length 0.
        return Tensor::new(&Allocator::default(), [0_i64]);
    }
    Tensor::from_array(([text.len()], text.to_vec()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let model = args.next().ok_or("usage: classify MODEL [TEXT ...]")?;
    let mut classifier = Classifier::load(model.to_str().ok_or("the model's path is no UTF-8")?)?;
    let mut show = |text: &[u8]| -> Result<(), Box<dyn Error>> {
        writeln!(io::stdout(), "{}", classifier.classify(text)?)?;
        Ok(())
    };
    let texts: Vec<_> = args.collect();
    for text in &texts {
        show(text.as_encoded_bytes())?;
    }
    if texts.is_empty() {
        for line in io::stdin().lock().split(b'\n') {
            show(&line?)?;
        }
    }
    Ok(())
}
