"""TRL's SFTTrainer as its documentation shows it: every option that is no hyper-parameter of the
comparison has its default (fp32 weights, bf16 autocast, gradient checkpointing, shuffled rows);
JOB says bf16=False where the hardware has no instructions for it.

    python trl_sft.py JOB.json    (written by bench_training.py)
"""

import json
import sys

import torch
from clock import Clock
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

with open(sys.argv[1]) as file:
    job = json.load(file)
data = Dataset.from_list([{"prompt": r["prompt"], "completion": r["answer"]} for r in job["rows"]])
trainer = SFTTrainer(
    model=job["model"],
    args=SFTConfig(
        output_dir=job["out"],
        per_device_train_batch_size=job["global_batch_size"],
        learning_rate=job["learning_rate"],
        lr_scheduler_type=job["scheduler"],
        max_steps=job["steps"],
        seed=job["seed"],
        bf16=job["bf16"],
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    ),
    train_dataset=data,
    peft_config=LoraConfig(
        r=job["r"], lora_alpha=job["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
    ),
)
trainer.add_callback(Clock(f"{job['out']}.clock.json"))
trainer.train()
trainer.save_model(job["out"])
trainer.state.save_to_json(f"{job['out']}/trainer_state.json")
